"""`imbalance-lens compare` does what `recipes.compare` does."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import recipes
from imbalance_lens.schema import validate
from imbalance_lens.testing import planted

from .conftest import Ask

COMPARING = """\
import functools

import torch

from imbalance_lens.testing import planted


def build():
    print("building")
    model = planted("audio")[0]
    torch.nn.init.normal_(model.head.weight)
    return model


def data(number=1):
    return {"train": planted("audio", examples=64)[1], "test": planted("audio", seed=number)[1]}


def by_seed(seed):
    return data(seed + 1)


fixed = data()
model = build()
number = 3
sgd = functools.partial(torch.optim.SGD, lr=0.1)
"""


@pytest.fixture
def compare(project: Path, ask: Ask) -> Ask:
    (project / "comparing.py").write_text(COMPARING)

    def asked(*words: object, data: str = "fixed", model: str = "build") -> Any:
        given = ("--model", f"comparing:{model}", "--data", f"comparing:{data}", "--device", "cpu")
        more = ("--seeds", 2, "--epochs", 1, "--optimizer", "comparing:sgd", "--no-flops")
        return ask("compare", *given, *more, *words)

    return asked


def in_python(what: Any, *, by_seed: bool = False) -> recipes.Comparison:
    """What the command does, as a call."""

    def build() -> torch.nn.Module:
        model = planted("audio")[0]
        torch.nn.init.normal_(model.head.weight)
        return model

    def data(seed: int) -> dict[str, Any]:
        test = planted("audio", seed=seed + 1 if by_seed else 1)[1]
        return {"train": planted("audio", examples=64)[1], "test": test}

    sgd = partial(torch.optim.SGD, lr=0.1)
    return recipes.compare(
        what, build, data, seeds=2, epochs=1, optimizer=sgd, device="cpu", flops=False
    )


def untimed(dataset: xr.Dataset) -> xr.DataArray:
    return dataset["value"].drop_sel(metric="time_ratio")


@pytest.mark.parametrize(
    ("data", "by_seed"), [("fixed", False), ("data", False), ("by_seed", True)]
)
def test_the_numbers_are_those_of_the_python_call(
    data: str, by_seed: bool, compare: Ask, project: Path
) -> None:
    words = ("--recipe", "ogm_ge", "--recipe", "opm+ogm_ge", "--set", "alpha=0.5")
    said = compare(*words, "--set", "q_base=0.3", "--out", "found.nc", data=data)
    own = {"alpha": 0.5}
    found = in_python(
        {"ogm_ge": ("ogm_ge", own), "opm + ogm_ge": (["opm", "ogm_ge"], own | {"q_base": 0.3})},
        by_seed=by_seed,
    )
    assert said.code == 0
    with xr.open_dataset(project / "found.nc") as kept:
        validate(kept)
        xr.testing.assert_equal(untimed(kept.load()), untimed(found.dataset))
        assert said.out == f"{recipes.Comparison(kept).table()}\n"


def test_finished_runs_are_kept_and_the_table_has_the_form_and_columns_that_are_wanted(
    compare: Ask, project: Path
) -> None:
    words = ("--recipe", "none", "--folder", "runs", "--metric", "accuracy", "--metric", "ece")
    first = compare(*words, "--form", "csv")
    kept = {file: file.stat().st_mtime_ns for file in (project / "runs").iterdir()}
    assert len(kept) == 2
    assert compare(*words, "--form", "csv").out == first.out
    assert {file: file.stat().st_mtime_ns for file in (project / "runs").iterdir()} == kept
    assert [line.split(",")[:2] for line in first.out.splitlines()] == [
        ["recipe", "metric"],
        ["none", "accuracy"],
        ["none", "ece"],
    ]
    assert compare(*words, "--form", "latex").out.startswith(r"\begin{tabular}{lrr}")


def test_json_has_every_value_and_the_protocol(compare: Ask) -> None:
    answer = json.loads(compare("--recipe", "abri", "--json").out)
    assert list(answer) == ["seeds", "recipes", "settings", "protocol", "notes", "failures"]
    values = answer["recipes"]["none"]["accuracy"]["values"]
    expected = in_python("none").dataset["value"].sel(recipe="none", metric="accuracy")
    assert np.allclose(values, expected)
    assert answer["recipes"]["abri"]["accuracy"] == {"values": [None, None], "p_value": None}
    assert "has no BatchNorm layer" in answer["failures"]["abri"]["0"]
    assert answer["protocol"]["epochs"] == 1
    assert answer["settings"]["none"][0]["recipe"] == "none"


@pytest.mark.parametrize(
    ("words", "given", "message"),
    [
        (("--set", "alfa=1"), {}, "No setting of what is compared named 'alfa'."),
        (("--recipe", "ogm"), {}, "No recipe named 'ogm'."),
        (("--recipe", "opm"), {}, "recipes.compare names 'opm' twice."),
        (("--metric", "loss"), {}, "No metric named 'loss'."),
        ((), {"model": "model"}, "model_factory gave the same model twice"),
        ((), {"data": "number"}, "loaders is int."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: tuple, given: dict[str, str], message: str, compare: Ask
) -> None:
    said = compare("--recipe", "opm", *words, **given)
    assert said.code == 1
    assert message in said.err
