"""States of one model compared: from files, and with the model as it was afterwards."""

from pathlib import Path

import pytest
import torch
from torch import nn

import imbalance_lens as lens
from imbalance_lens.errors import (
    BatchError,
    CheckpointError,
    NotApplicableError,
    SettingError,
)
from imbalance_lens.formulas import overfitting_to_generalization
from imbalance_lens.testing import assert_passive
from tests.watched import WHO, Net, batches, fresh, train

TRAIN, HELD_OUT = batches()[:3], batches()[3:]


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    model = fresh()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "before.pt")
    train(model)
    torch.save(model.state_dict(), tmp_path / "after.pt")
    return [tmp_path / "before.pt", tmp_path / "after.pt"]


def mean_loss(file: Path, data: list) -> torch.Tensor:
    model = Net().eval()
    model.load_state_dict(lens.load_weights(file))
    with torch.no_grad():
        losses = [nn.functional.cross_entropy(model(a, v), y, reduction="sum") for a, v, y in data]
    return sum(losses) / sum(len(labels) for *_, labels in data)


def test_the_terms_are_those_of_the_equation(checkpoints: list[Path]) -> None:
    found = lens.compare_checkpoints(Net(), checkpoints, TRAIN, HELD_OUT, WHO)
    before, after = checkpoints
    wanted = overfitting_to_generalization(
        *(mean_loss(file, data) for file in (before, after) for data in (TRAIN, HELD_OUT))
    )
    for name, value in zip(("delta_overfit", "delta_general", "ogr"), wanted, strict=True):
        assert found[f"total_{name}"].sel(head="joint").item() == pytest.approx(
            value.item(), rel=1e-4
        )
    assert list(found["head"].values) == ["audio", "visual", "joint"]


def test_the_same_examples_twice_show_no_overfitting(checkpoints: list[Path]) -> None:
    found = lens.compare_checkpoints(Net(), checkpoints, TRAIN, TRAIN, WHO)
    assert found["total_delta_overfit"].values == pytest.approx(0, abs=1e-12)


def test_the_model_has_its_own_weights_again_also_after_an_error(checkpoints: list[Path]) -> None:
    model = fresh()
    with assert_passive(model):
        lens.compare_checkpoints(model, [*checkpoints, model], TRAIN, HELD_OUT, WHO)
    with assert_passive(model), pytest.raises(BatchError, match="no batch"):
        lens.compare_checkpoints(model, checkpoints, TRAIN, [], WHO)
    with assert_passive(model), pytest.raises(CheckpointError, match="does not fit Net"):
        lens.compare_checkpoints(model, [model, {"other": torch.ones(1)}], TRAIN, HELD_OUT, WHO)


def test_one_state_cannot_be_compared() -> None:
    with pytest.raises(SettingError, match="Two or more states"):
        lens.compare_checkpoints(Net(), [Net()], TRAIN, HELD_OUT)


@pytest.mark.parametrize("states", ["run.pt", Net().state_dict(), None, Net()])
def test_what_is_no_list_of_states_is_said(states) -> None:
    with pytest.raises(SettingError, match="Give a list of two or more states"):
        lens.compare_checkpoints(Net(), states, TRAIN, HELD_OUT, WHO)


@pytest.mark.parametrize("state", [None, [1, 2], 3])
def test_what_is_no_state_is_said(state) -> None:
    model = fresh()
    with assert_passive(model), pytest.raises(CheckpointError, match=r"A state is a .*\. Give"):
        lens.compare_checkpoints(model, [model, state], TRAIN, HELD_OUT, WHO)


def test_a_probe_that_would_pool_the_states_is_refused() -> None:
    model = fresh()
    with pytest.raises(SettingError, match="Use one of 'gradient_ogr', 'ogr'"):
        lens.compare_checkpoints(model, [model, model], TRAIN, HELD_OUT, WHO, probe="linear_probe")


def test_a_generator_lasts_for_one_state_only() -> None:
    model = fresh()
    with pytest.raises(BatchError, match=r"held-out examples gave no batch.*generator"):
        lens.compare_checkpoints(model, [model, model], TRAIN, iter(HELD_OUT), WHO)


@pytest.mark.parametrize("unlabeled", ["train", "held_out"])
def test_without_labels_there_is_a_reason(unlabeled: str) -> None:
    model = fresh()
    sets: dict[str, list] = {"train": TRAIN, "held_out": HELD_OUT}
    sets[unlabeled] = [(tuple(inputs), None) for *inputs, _ in sets[unlabeled]]
    with pytest.raises(NotApplicableError, match=r"'ogr' has no answer: .*labels"):
        lens.compare_checkpoints(model, [model, model], sets["train"], sets["held_out"], WHO)
