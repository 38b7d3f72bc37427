"""A comparison that is interrupted goes on; what fails costs only its own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.utils.data import DataLoader, Subset

import recipes
from imbalance_lens.errors import CheckpointError, TrainingError
from imbalance_lens.testing import PlantedData, PlantedModel

from .comparisons import SIGNAL, compared, loader, loaders, model, timeless


class Stopping:
    """A model factory that is interrupted the n-th time it is asked."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self) -> nn.Module:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return model()


@pytest.mark.parametrize("last", [1, 4, 6, 9])
def test_an_interrupted_comparison_goes_on_to_the_same_numbers(tmp_path: Path, last: int) -> None:
    whole = compared(flops=True)
    with pytest.raises(KeyboardInterrupt):
        compared(factory=Stopping(last), folder=tmp_path / "runs", flops=True)
    done = {file: file.read_bytes() for file in (tmp_path / "runs").iterdir()}
    assert len(done) == {1: 0, 4: 2, 6: 4, 9: 5}[last]
    resumed = compared(folder=tmp_path / "runs", flops=True)
    xr.testing.assert_identical(timeless(resumed), timeless(whole))
    assert all(file.read_bytes() == content for file, content in done.items())
    again = compared(factory=Stopping(4), folder=tmp_path / "runs", flops=True)  # none is trained
    xr.testing.assert_identical(again.dataset, resumed.dataset)


def test_recipes_and_seeds_may_be_added_later(tmp_path: Path) -> None:
    compared(["none"], seeds=1, folder=tmp_path)
    first = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    more = compared({"plain": "none", "ogm": "ogm_ge"}, seeds=2, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in first} == first
    xr.testing.assert_identical(
        timeless(more), timeless(compared({"plain": "none", "ogm": "ogm_ge"}))
    )


def other_model() -> PlantedModel:
    made = model()
    with torch.no_grad():
        made.head.bias.add_(1)
    return made


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 2}, "epochs was 1 and is 2"),
        ({"optimizer": partial(torch.optim.SGD, lr=0.5)}, "arguments lr was 0.05 and is 0.5"),
        ({"factory": other_model}, "weights_at_start was"),
        ({"data": loaders(test=loader(7))}, "data test hash was"),
        ({"data": loaders(train=loader(0, 32))}, "data train examples was 48 and is 32"),
        ({"data": loaders(val=loader(2))}, "data val was not there and is"),
    ],
)
def test_runs_of_another_comparison_are_refused(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    compared(["none"], seeds=1, folder=tmp_path)
    with pytest.raises(CheckpointError, match="is of another comparison") as refused:
        compared(["none"], seeds=1, folder=tmp_path, **changed)
    assert message in str(refused.value)
    assert "Give another folder" in str(refused.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    compared(["none"], seeds=1, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:40])
    with pytest.raises(CheckpointError, match=f"{file.name} is damaged"):
        compared(["none"], seeds=1, folder=tmp_path)


def test_the_order_of_held_out_examples_makes_no_other_split(tmp_path: Path) -> None:
    data = PlantedData(SIGNAL, examples=48, seed=1)
    for order in (range(48), range(47, -1, -1)):
        test = DataLoader(Subset(data, list(order)), 16)
        compared(["none"], data=loaders(test=test), seeds=1, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@dataclass(eq=False, kw_only=True)
class Failing(recipes.Recipe):
    """Fails at odd seeds."""

    card = recipes.Card(
        title="Failing",
        paper="none",
        equations="none",
        events=("on_loss",),
        touches=(),
        needs="nothing",
        defaults="there are no settings",
    )

    def on_loss(self, run: Any, seen: Any, loss: Any) -> Any:
        if run.generator.initial_seed() % 2:
            raise ZeroDivisionError("an odd seed")
        return loss


def test_a_recipe_that_fails_costs_only_its_own_numbers(tmp_path: Path) -> None:
    found = compared(["none", Failing(), "ogm_ge"], folder=tmp_path)
    reference = timeless(compared(["none", "ogm_ge"]))
    values = timeless(found)["value"]
    xr.testing.assert_identical(
        values.sel(recipe=["none", "ogm_ge"]).drop_attrs(), reference["value"].drop_attrs()
    )
    scores = values.sel(recipe="Failing").drop_sel(metric="flops_ratio")
    assert np.isfinite(scores.sel(seed=0)).all()
    assert np.isnan(scores.sel(seed=1)).all()
    assert found.failures == {"Failing": {"1": "ZeroDivisionError: an odd seed"}}
    assert "Failing failed at seed 1: ZeroDivisionError: an odd seed" in found.table()
    assert len(list(tmp_path.iterdir())) == 5  # what failed is tried again


def test_a_comparison_without_any_result_is_an_error() -> None:
    class Nothing(nn.Module):
        def forward(self, audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
            return audio + visual

    with pytest.raises(TrainingError, match=r"has finished\. The first one says"):
        compared(["none"], factory=Nothing)
