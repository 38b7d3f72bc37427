"""`imbalance-lens scan`."""

import json
import pickle
from pathlib import Path

import pytest
import torch
import xarray as xr
from torch import nn

from imbalance_lens import scan_checkpoint
from imbalance_lens.cli.scan import scan
from imbalance_lens.formulas import CRITERIA

from .conftest import Ask


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Ten channels, of which three are below 1e-2 and one of these is below 1e-10."""
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(6))
    with torch.no_grad():
        model[1].weight[:2] = torch.tensor([1e-3, 1e-12])
        model[2].weight[5] = 5e-3
    torch.save(model.state_dict(), tmp_path / "run.pt")
    return tmp_path / "run.pt"


class Malicious:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return Path.touch, (self.victim,)


def test_the_table_counts_per_layer_and_in_total(ask: Ask, checkpoint: Path):
    said = ask("scan", checkpoint, "--threshold", "1e-2", "--threshold", "1e-10")
    assert said.code == 0
    head, empty, *lines = said.out.splitlines()
    assert head.endswith("run.pt: 2 BatchNorm layers in float32, abnormal channels by pair")
    assert [line.split() for line in lines] == [
        ["layer", "channels", "<0.01", "<1e-10"],
        ["1", "4", "2", "1"],
        ["2", "6", "1", "0"],
        ["total", "10", "3", "1"],
        ["share", "30.0", "%", "10.0", "%"],
    ]
    assert (empty, said.err) == ("", "")


def test_long_names_leave_the_table_80_columns_wide(ask: Ask, tmp_path: Path):
    path = ".".join(["backbone"] * 15)
    state = {f"{path}.{k}": v for k, v in nn.BatchNorm1d(4).state_dict().items()}
    torch.save(state, tmp_path / "run.pt")
    _, _, *lines = ask("scan", tmp_path / "run.pt").out.splitlines()
    assert max(map(len, lines)) == 80
    assert lines[1].startswith("backbone.")


def test_json_is_all_that_stdout_gets_and_says_what_the_table_says(ask: Ask, checkpoint: Path):
    said = ask("scan", checkpoint, "--threshold", "1e-2", "--threshold", "1e-10", "--json")
    assert json.loads(said.out) == {
        "file": str(checkpoint),
        "criterion": "pair",
        "precision": "float32",
        "thresholds": [1e-2, 1e-10],
        "layers": [
            {"layer": "1", "channels": 4, "abnormal": [2, 1]},
            {"layer": "2", "channels": 6, "abnormal": [1, 0]},
        ],
        "total": {"channels": 10, "abnormal": [3, 1], "share": [0.3, 0.1]},
    }


def test_without_thresholds_those_of_the_library_are_used(ask: Ask, checkpoint: Path):
    said = json.loads(ask("scan", checkpoint, "--json").out)
    assert said["thresholds"] == scan_checkpoint(checkpoint)["threshold"].values.tolist()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_can_be_asked_for(ask: Ask, checkpoint: Path, criterion: str):
    said = json.loads(ask("scan", checkpoint, "--criterion", criterion, "--json").out)
    assert said["criterion"] == criterion


def test_the_criteria_are_those_of_the_library():
    (option,) = (part for part in scan.params if part.name == "criterion")
    assert tuple(option.type.choices) == CRITERIA  # pyright: ignore[reportAttributeAccessIssue]


def test_out_saves_what_the_library_answers(ask: Ask, checkpoint: Path, tmp_path: Path):
    said = ask("scan", checkpoint, "--out", tmp_path / "scan.nc")
    assert said.err == f"Saved {tmp_path / 'scan.nc'}.\n"
    with xr.open_dataset(tmp_path / "scan.nc", engine="h5netcdf") as saved:
        xr.testing.assert_equal(saved, scan_checkpoint(checkpoint))


def test_out_into_a_folder_that_is_not_there(ask: Ask, checkpoint: Path, tmp_path: Path):
    said = ask("scan", checkpoint, "--out", tmp_path / "no" / "scan.nc")
    assert said.sentence() == f"The folder {tmp_path / 'no'} does not exist. Make it first."


def test_half_precision_gets_a_note(ask: Ask, tmp_path: Path):
    torch.save(nn.BatchNorm1d(4).half().state_dict(), tmp_path / "half.pt")
    said = ask("scan", tmp_path / "half.pt", "--json")
    assert said.err.startswith("Note: torch.float16 has no numbers between 0 and 6e-08")
    assert json.loads(said.out)["precision"] == "float16"


def test_a_folder(ask: Ask, tmp_path: Path):
    said = ask("scan", tmp_path)
    assert said.sentence() == f"{tmp_path} is a folder. Give the checkpoint file inside it."


def test_a_file_that_is_cut_short(ask: Ask, checkpoint: Path):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    assert "is cut short, damaged, or no checkpoint" in ask("scan", checkpoint).sentence()


def test_a_checkpoint_without_batchnorm(ask: Ask, tmp_path: Path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "run.pt")
    assert "holds no BatchNorm layer" in ask("scan", tmp_path / "run.pt").sentence()


def test_a_malicious_file_is_refused_and_does_not_run(ask: Ask, tmp_path: Path):
    victim = tmp_path / "victim"
    torch.save({"state_dict": Malicious(victim)}, tmp_path / "new.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Malicious(victim), protocol=2))
    for name in ("new.pt", "old.pt"):
        sentence = ask("scan", tmp_path / name).sentence()
        assert not victim.exists()
        assert name in sentence
    torch.load(tmp_path / "new.pt", weights_only=False)
    assert victim.exists()


def test_objects_are_read_where_the_file_is_trusted(ask: Ask, tmp_path: Path):
    content = {"state_dict": nn.BatchNorm1d(4).state_dict(), "args": Path("anything")}
    torch.save(content, tmp_path / "run.pt")
    assert "--trust-checkpoint" in ask("scan", tmp_path / "run.pt").sentence()
    assert ask("scan", tmp_path / "run.pt", "--trust-checkpoint").code == 0


def test_a_threshold_that_is_no_number_is_wrong_usage(ask: Ask, checkpoint: Path):
    assert ask("scan", checkpoint, "--threshold", "small").code == 2
    assert ask("scan", checkpoint, "--criterion", "all").code == 2


def test_a_threshold_below_zero(ask: Ask, checkpoint: Path):
    said = ask("scan", checkpoint, "--threshold", "-1")
    assert said.sentence() == "A threshold must be above 0; got -1.0."
