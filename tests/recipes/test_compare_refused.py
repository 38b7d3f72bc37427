"""What cannot be compared fairly is refused, with a word on what to do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from imbalance_lens.errors import BatchError, SettingError, UnknownNameError
from imbalance_lens.testing import PlantedModel

from .comparisons import ONE, SIGNAL, compared, loaders, model, sgd


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(compared, []), SettingError, "There is nothing to compare."),
        (partial(compared, ["ogm"]), UnknownNameError, "No recipe named 'ogm'."),
        (partial(compared, ["opm", "opm"]), SettingError, "names 'opm' twice"),
        (partial(compared, {"a": ("opm", {"q": 1})}), UnknownNameError, "named 'q'"),
        (partial(compared, [3]), SettingError, "A recipe is a name or a Recipe; got int."),
        (partial(compared, seeds=0), SettingError, "seeds must be a whole number"),
        (partial(compared, seeds=[1, 1]), SettingError, "seeds names '1' twice"),
        (partial(compared, seeds=[]), SettingError, "There are no seeds."),
        (partial(compared, epochs=0), SettingError, "epochs must be"),
        (partial(compared, checkpoint="a"), UnknownNameError, "named 'checkpoint'"),
        (partial(compared, optimizer=sgd(model().parameters())), SettingError, "made already"),
        (partial(compared, data={"train": []}), SettingError, "loaders is 'train'."),
        (partial(compared, data=[]), SettingError, "loaders is list."),
        (partial(compared, factory=lambda: 3), SettingError, "model_factory gave a int"),
        (partial(compared, factory=lambda: ONE), SettingError, "same model twice"),
    ],
)
def test_what_cannot_be_compared_is_said(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as told:
        call()
    assert message in str(told.value)


@pytest.mark.parametrize(("part", "same_as"), [("val", "test"), ("test", "train")])
def test_nothing_is_chosen_by_test_data(part: str, same_as: str) -> None:
    data = loaders()
    data[part] = DataLoader(data[same_as].dataset, 16)
    with pytest.raises(SettingError, match="are the same examples, so the scores would be too"):
        compared(data=data)


def test_a_model_that_begins_otherwise_at_each_call_is_refused() -> None:
    calls = itertools.count()

    def restless() -> PlantedModel:
        made = model()
        with torch.no_grad():
            made.head.bias.add_(next(calls))
        return made

    with pytest.raises(SettingError, match="other weights when it was called again"):
        compared(factory=restless)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="A comparison runs in one process"):
        compared()


def test_labels_that_are_no_classes_are_refused() -> None:
    inputs = {name: torch.ones(2, 4) for name in SIGNAL}
    with pytest.raises(BatchError, match="Labels must be class indices"):
        compared(data=loaders(test=[(inputs, torch.ones(2))]))
