"""`imbalance-lens diagnose`."""

import errno
import json
import re
from pathlib import Path

import pytest
import torch

from imbalance_lens import load_report
from imbalance_lens.anatomy.fills import FILLS
from imbalance_lens.cli.diagnose import diagnose
from imbalance_lens.observer import unasked_probes
from imbalance_lens.probes import PROBES
from imbalance_lens.probes.zero_out import ZeroOut
from imbalance_lens.testing import planted

from .conftest import Ask, Said

MINE = ("diagnose", "--model", "mine:build", "--data", "mine:data")


@pytest.fixture
def ask_mine(ask: Ask, project: Path) -> Ask:
    def asked(*words: object) -> Said:
        return ask(*MINE, *words)

    return asked


def dominant(said: Said) -> str:
    finding = json.loads(said.out)["findings"][0]
    assert finding["rule"] == "dominance"
    return finding["modality"]


def test_the_report_is_printed_and_saved(ask_mine: Ask, project: Path):
    said = ask_mine("--out", "report.nc")
    assert said.code == 0
    assert "audio dominates: alone it gets 98.4 %" in said.out.replace("\n", " ")
    assert said.out == f"{load_report(project / 'report.nc')}\n"
    assert said.err == "building\nSaved report.nc.\n"


def test_json_is_all_that_stdout_gets_though_the_user_s_code_prints(ask_mine: Ask):
    said = ask_mine("--json")
    answer = json.loads(said.out)
    assert said.err == "building\n"
    assert list(answer) == [
        "model",
        "examples",
        "modalities",
        "findings",
        "recommendations",
        "skipped",
        "notes",
        "anatomy",
        "imbalance_lens_version",
    ]
    assert (answer["model"], answer["examples"]) == ("PlantedModel", 256)
    assert answer["modalities"]["audio"]["alone"] == 252 / 256
    assert answer["modalities"]["audio"]["abnormal"] is None  # there is no BatchNorm
    assert answer["recommendations"][0]["recipe"] == "ogm_ge"
    assert answer["skipped"]["abnormal_batchnorm"].startswith("the model has no BatchNorm layer")


def test_the_data_may_be_a_loader_as_well_as_a_function(ask: Ask, ask_mine: Ask):
    assert ask("diagnose", "--model", "mine:build", "--data", "mine:loader").out == ask_mine().out


def test_the_model_may_be_a_model_or_a_class(ask: Ask, project: Path):
    (project / "other.py").write_text(
        "from imbalance_lens.testing import PlantedModel, planted\n"
        "class Mine(PlantedModel):\n"
        "    def __init__(self):\n"
        "        super().__init__(['audio', 'visual'], 4)\n"
        "model = Mine()\n"
    )
    for name in ("Mine", "model"):
        said = ask("diagnose", "--model", f"other:{name}", "--data", "mine:data", "--json")
        assert dominant(said) == "audio"


def test_the_weights_come_from_the_checkpoint(ask_mine: Ask, project: Path):
    model, _ = planted("audio")
    with torch.no_grad():  # what is heard counts for the next class
        encoder = model.get_submodule("audio")
        encoder.weight.copy_(encoder.weight.roll(1, 0))
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, project / "deaf.pt")
    alone = [
        json.loads(ask_mine(*words, "--json").out)["modalities"]["audio"]["alone"]
        for words in ((), ("--checkpoint", "deaf.pt"))
    ]
    assert alone[0] > 0.9
    assert alone[1] < 0.1


def test_a_checkpoint_of_another_model(ask_mine: Ask, project: Path):
    torch.save(torch.nn.Linear(2, 3).state_dict(), project / "other.pt")
    sentence = ask_mine("--checkpoint", "other.pt").sentence()
    assert sentence.startswith("other.pt does not fit the model.")


def test_a_checkpoint_that_holds_code_has_to_be_trusted(ask_mine: Ask, project: Path):
    content = {"state_dict": planted("audio")[0].state_dict(), "folder": Path("runs")}
    torch.save(content, project / "run.pt")
    assert "--trust-checkpoint" in ask_mine("--checkpoint", "run.pt").sentence()
    assert ask_mine("--checkpoint", "run.pt", "--trust-checkpoint").code == 0


def test_the_anatomy_can_be_given_under_any_names(ask_mine: Ask):
    given = ("--anatomy", "sound=audio", "--anatomy", "sight=visual", "--head", "head")
    answer = json.loads(ask_mine(*given, "--json").out)
    assert list(answer["modalities"]) == ["sound", "sight"]
    assert answer["anatomy"]["head"] == "head"


def test_a_path_that_leads_nowhere(ask_mine: Ask):
    sentence = ask_mine("--anatomy", "audio=audoi", "--anatomy", "visual=visual").sentence()
    assert "has no module or method 'audoi'. Did you mean 'audio'?" in sentence


def test_one_modality_is_not_enough(ask_mine: Ask):
    sentence = ask_mine("--anatomy", "audio=audio").sentence()
    assert sentence == "Two or more modalities are needed; got 'audio'."


def test_a_modality_that_is_named_twice(ask_mine: Ask):
    sentence = ask_mine("--anatomy", "a=audio", "--anatomy", "a=visual").sentence()
    assert sentence == "--anatomy names 'a' twice. Name it once."


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--anatomy", "audio"), "'audio' is not of the form modality=path."),
        (("--head", "head"), "--head goes with --anatomy"),
        (("--max-batches", "0"), "0 is not in the range x>=1"),
        (("--fill", "ones"), "'ones' is not one of"),
        (("--model", "mine"), "'mine' is not of the form package.module:name."),
    ],
)
def test_wrong_usage(ask_mine: Ask, words: tuple[str, ...], complaint: str):
    said = ask_mine(*words)
    assert (said.code, said.out) == (2, "")
    assert complaint in said.err


def test_without_model_or_data_it_is_wrong_usage(ask: Ask):
    assert ask("diagnose", "--model", "mine:build").code == 2
    assert ask("diagnose", "--data", "mine:data").code == 2


def test_only_the_probes_that_are_named_run(ask_mine: Ask, project: Path):
    ask_mine("--probe", "logit_norm", "--probe", "zero_out", "--out", "report.nc")
    assert list(load_report(project / "report.nc").tree.children) == ["logit_norm", "zero_out"]


def test_examples_that_the_model_was_trained_on_can_be_shown(ask_mine: Ask, project: Path):
    ask_mine("--train", "mine:loader", "--max-batches", "2", "--out", "report.nc")
    report = load_report(project / "report.nc")
    assert report.tree.attrs["examples"] == 64
    assert json.loads(report.tree.attrs["settings"])["training_examples"] == 64


def test_an_unknown_probe(ask_mine: Ask):
    sentence = ask_mine("--probe", "zero-out").sentence()
    assert sentence.startswith("No probe named 'zero-out'. Did you mean 'zero_out'? Known: ")
    assert ask_mine("--probe", "zero-out", "--fill", "mean").sentence() == sentence


(FILL,) = (part.type.choices for part in diagnose.params if part.name == "fill")  # pyright: ignore


@pytest.mark.parametrize("fill", FILL)
def test_every_fill_can_be_asked_for_and_all_probes_still_run(
    ask_mine: Ask, project: Path, fill: str
):
    said = ask_mine("--fill", fill, "--out", "report.nc", "--json")
    tree = load_report(project / "report.nc").tree
    assert json.loads(tree["zero_out"].attrs["settings"])["fill"] == fill
    answered = {*tree.children, *json.loads(said.out)["skipped"]}
    assert answered == set(PROBES.names()) - set(unasked_probes())


def test_the_fills_are_those_that_the_probe_describes():
    told = re.findall(r'"(\w+)"', (ZeroOut.__doc__ or "").split("fill: ")[1].split("average")[0])
    assert told == list(FILL)
    assert set(FILL) <= set(FILLS)


def test_a_fill_where_nothing_is_filled(ask_mine: Ask):
    sentence = ask_mine("--probe", "logit_norm", "--fill", "mean").sentence()
    assert sentence == "--fill has no meaning for logit_norm. Leave it out."


def test_it_stops_after_as_many_batches_as_it_is_told(ask_mine: Ask):
    assert json.loads(ask_mine("--max-batches", "3", "--json").out)["examples"] == 3 * 32


def test_the_device_can_be_named(ask_mine: Ask):
    assert ask_mine("--device", "cpu").code == 0


@pytest.mark.parametrize("device", ["cupu", "xla:9"])
def test_a_device_that_is_not_there(ask_mine: Ask, device: str):
    sentence = ask_mine("--device", device).sentence()
    assert sentence.startswith(f"The device {device!r} cannot be used: ")
    assert "\n" not in sentence


def test_a_folder_that_is_not_there_is_noticed_before_the_work(ask_mine: Ask, project: Path):
    said = ask_mine("--out", "no/report.nc")
    assert said.sentence() == f"The folder {project / 'no'} does not exist. Make it first."
    assert "building" not in said.err


def test_a_report_that_was_there_survives_an_error(ask_mine: Ask, project: Path):
    (project / "report.nc").write_text("the old one")
    assert ask_mine("--out", "report.nc", "--checkpoint", "missing.pt").code == 1
    assert (project / "report.nc").read_text() == "the old one"
    assert [path.name for path in project.iterdir() if path.suffix == ".part"] == []


def test_a_full_disk_is_told_of_once_and_by_the_name_that_was_given(
    ask_mine: Ask, project: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    said = ask_mine("--probe", "logit_norm", "--out", "report.nc")
    assert said.err.count("could not be written") == 1
    assert f"{project / 'report.nc'} could not be written (No space left" in said.err
    assert ".part" not in said.err


def test_the_users_own_trouble_with_files_is_not_blamed_on_the_report(ask: Ask, project: Path):
    (project / "slow.py").write_text("def data():\n    raise OSError('the tape is torn')\n")
    said = ask("diagnose", "--model", "mine:build", "--data", "slow:data", "--out", "report.nc")
    assert "slow.py:2 raised OSError: the tape is torn" in said.err
    assert "could not be written" not in said.err


@pytest.mark.gpu
def test_the_model_runs_where_it_is_told(ask_mine: Ask):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    assert dominant(ask_mine("--device", "cuda", "--json")) == "audio"
