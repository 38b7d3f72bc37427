"""`imbalance-lens train` does what `recipes.apply` does."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

import recipes
from imbalance_lens.cli._settings import settings_of
from imbalance_lens.errors import SettingError
from imbalance_lens.schema import validate
from imbalance_lens.testing import planted
from recipes._base import Recipe

from .conftest import Ask

TRAINING = """\
import functools

import torch

from imbalance_lens.testing import planted


def build():
    print("building")
    model = planted("audio")[0]
    torch.nn.init.normal_(model.head.weight)
    return model


def loader():
    return planted("audio")[1]


def both():
    return loader(), planted("audio", seed=1)[1]


def named():
    return {"train": loader(), "val": planted("audio", seed=1)[1]}


def misnamed():
    return {"training": loader()}


def three():
    return loader(), loader(), loader()


sgd = functools.partial(torch.optim.SGD, lr=0.1)
halved = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
number = 3


def broken():
    for inputs, labels in loader():
        yield inputs, labels
        raise ZeroDivisionError("no more data")


class Broken:
    def __iter__(self):
        return broken()
"""


@pytest.fixture
def train(project: Path, ask: Ask) -> Ask:
    (project / "training.py").write_text(TRAINING)
    model, device = ("--model", "training:build"), ("--device", "cpu")

    def asked(*words: object, data: str = "loader", recipe: str = "ogm_ge") -> Any:
        given = ("--recipe", recipe, "--data", f"training:{data}", "--seed", 3)
        return ask("train", *given, *model, *device, *words)

    return asked


def in_python(recipe: Any = "ogm_ge", **settings: Any) -> recipes.Fit:
    """What the command does, as a call."""
    torch.manual_seed(3)
    model, loader = planted("audio")
    torch.nn.init.normal_(model.head.weight)
    return recipes.apply(recipe, model, loader, epochs=2, seed=3, device="cpu", **settings)


def assert_same(file: Path, fit: recipes.Fit) -> None:
    state = fit.model.state_dict()
    saved = load_file(file)
    assert saved.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(saved[name], tensor), name


def test_the_weights_are_those_of_the_python_call(train: Ask, project: Path) -> None:
    words = ("--epochs", 2, "--set", "alpha=0.5", "--set", "noise=True", "--set", "form=cvpr")
    said = train(*words, "--out", "w.safetensors", "--history", "history.nc")
    fit = in_python(alpha=0.5, noise=True, form="cvpr")
    assert said.code == 0
    assert said.out == f"{fit.summary()}\n"
    assert said.err == "building\nSaved w.safetensors.\nSaved history.nc.\n"
    assert_same(project / "w.safetensors", fit)
    with xr.open_dataset(project / "history.nc") as history:
        validate(history)
        kept = [name for name in history.data_vars if name not in ("seconds", "throughput")]
        for name in kept:
            assert history[name].equals(fit.history[name]), name
        assert "step_coefficient" in kept


def test_recipes_go_together_with_an_optimizer_and_a_scheduler_of_one_s_own(
    train: Ask, project: Path
) -> None:
    said = train(
        *("--epochs", 2, "--recipe", "opm", "--set", "q_base=0.3", "--accumulate", 2),
        *("--optimizer", "training:sgd", "--scheduler", "training:halved", "--clip-norm", 0.5),
        *("--anatomy", "audio=audio", "--anatomy", "visual=visual", "--out", "w.safetensors"),
    )
    fit = in_python(
        ["ogm_ge", "opm"],
        q_base=0.3,
        accumulate=2,
        clip_norm=0.5,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
        anatomy={"audio": "audio", "visual": "visual"},
    )
    assert said.out == f"{fit.summary()}\n"
    assert_same(project / "w.safetensors", fit)


@pytest.mark.parametrize("data", ["both", "named"])
def test_held_out_examples_are_validated_on(data: str, train: Ask) -> None:
    said = train("--epochs", 2, "--patience", 1, "--json", data=data)
    answer = json.loads(said.out)
    fit = in_python(val_loader=planted("audio", seed=1)[1], patience=1)
    assert list(answer) == [
        "recipes",
        "readout",
        "epochs",
        "steps",
        "best_epoch",
        "numbers",
        "imbalance_lens_version",
    ]
    assert fit.best_epoch is not None
    assert answer["best_epoch"] == fit.best_epoch
    assert (answer["recipes"], answer["steps"]) == (["ogm_ge"], 16)
    best = fit.history.isel(epoch=fit.best_epoch)
    assert answer["numbers"]["val_loss"] == float(best["val_loss"])
    alone = answer["numbers"]["val_modality_accuracy"]
    assert alone["audio"] == float(best["val_modality_accuracy"].sel(modality="audio"))


def test_an_interrupted_training_goes_on_unless_that_is_not_wanted(
    train: Ask, project: Path
) -> None:
    def steps(*words: object) -> int:
        said = train("--checkpoint", "kept", "--json", "--out", "w.safetensors", *words)
        return json.loads(said.out)["steps"]

    assert steps("--epochs", 1) == 8
    assert steps("--epochs", 2) == 16
    assert_same(project / "w.safetensors", in_python())
    train("--epochs", 3, "--checkpoint", "kept", "--out", "w3.safetensors", "--no-resume")
    assert steps("--epochs", 2, "--no-resume") == 16
    assert_same(project / "w.safetensors", in_python())


@pytest.mark.parametrize(
    ("words", "data", "message"),
    [
        (("--set", "alfa=1"), "loader", "No setting of 'ogm_ge' named 'alfa'. Did you mean"),
        (("--set", "alpha=much"), "loader", "--set alpha=much: alpha of 'ogm_ge' is a number."),
        (("--set", "noise=1"), "loader", "--set noise=1: noise of 'ogm_ge' is true or false."),
        (("--set", "alpha=1", "--set", "alpha=2"), "loader", "--set names 'alpha' twice."),
        (("--recipe", "ogm"), "loader", "No recipe named 'ogm'."),
        (("--recipe", "ogm_ge"), "loader", "recipes names 'ogm_ge' twice."),
        (("--precision", "fp8"), "loader", "precision='fp8' is not known."),
        (("--device", "abacus"), "loader", "The device 'abacus' cannot be used"),
        (("--optimizer", "training:number"), "loader", "training:number is an int."),
        (("--patience", 1), "loader", "patience= and keep='best' need validation data."),
        (("--out", "missing/w.safetensors"), "loader", "does not exist. Make it first."),
        ((), "misnamed", "training:misnamed gave a mapping with 'training'."),
        ((), "three", "training:three gave a tuple of 3."),
        ((), "Broken", "training.py:43 raised ZeroDivisionError: no more data"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: tuple, data: str, message: str, train: Ask
) -> None:
    assert message in train("--epochs", 2, *words, data=data).sentence()


@pytest.mark.parametrize("words", [("--epochs", 0), ("--epochs", 2, "--set", "alpha"), ()])
def test_a_command_that_is_written_wrongly_says_so(words: tuple, train: Ask) -> None:
    assert train(*words).code == 2


def test_ranks_but_the_first_write_and_say_nothing(
    train: Ask, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    said = train("--epochs", 1, "--out", "w.safetensors", "--history", "history.nc")
    assert (said.code, said.out, said.err) == (0, "", "building\n")
    assert not (project / "w.safetensors").exists()
    assert not (project / "history.nc").exists()


@pytest.mark.slow
def test_torchrun_trains_on_two_ranks_as_one_process_does(train: Ask, project: Path) -> None:
    words = "--recipe ogm_ge --set noise=false --model training:build --data training:loader"
    more = "--epochs 2 --seed 3 --device cpu --accumulate 1 --out two.safetensors --json"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ["--master-addr", "127.0.0.1", "--master-port", str(free.getsockname()[1])]
    ranks = ["torch.distributed.run", *place, "--nproc-per-node", "2"]
    command = [sys.executable, "-m", *ranks, "-m", "imbalance_lens", "train"]
    done = subprocess.run(
        [*command, *words.split(), *more.split()],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)  # of one rank
    assert answer["steps"] == 8  # of twice 32 examples
    assert load_file(project / "two.safetensors").keys() == in_python().model.state_dict().keys()


@dataclasses.dataclass(eq=False, kw_only=True)
class Mixed(Recipe):
    number: int | None = None
    share: float | str = 0.5
    word: Literal["tanh", "none at all"] | float = 1.0
    many: tuple[str, ...] = ()
    shared: ClassVar[int] = 1


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("number", "3", 3),
        ("number", "none", None),
        ("share", "0.25", 0.25),
        ("share", "auto", "auto"),
        ("word", "tanh", "tanh"),
        ("word", "2", 2.0),
        ("start_epoch", "2", 2),
        ("strange", "2", "2"),
    ],
)
def test_a_setting_is_read_as_its_recipe_has_it(name: str, text: str, value: object) -> None:
    read = settings_of([Mixed], {name: text})[name]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("number", "1.5", "is none or a whole number"),
        ("word", "sinh", "is 'tanh' or 'none at all' or a number"),
        ("many", "a,b", "cannot be written on a command line"),
    ],
)
def test_a_setting_of_another_type_is_complained_about(name: str, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        settings_of([Mixed], {name: text})


@pytest.mark.parametrize("name", recipes.names())
def test_every_default_can_be_written_on_the_command_line(name: str) -> None:
    recipe = recipes.get(name)
    for field in dataclasses.fields(recipe):
        if field.init:
            text = str(field.default)
            assert settings_of([recipe], {field.name: text})[field.name] == field.default
