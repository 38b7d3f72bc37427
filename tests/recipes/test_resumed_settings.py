"""A training goes on with the settings that it began with, or says which are others."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import recipes
from imbalance_lens.errors import CheckpointError

from .trainings import loader_of, model_of, same, sgd, weights_of

NAMES = ("audio", "visual")
SCHEDULE = partial(lr_scheduler.StepLR, step_size=2, gamma=0.5)


def went_on(folder: Path, epochs: int = 2, **settings: Any) -> recipes.Fit:
    given: dict[str, Any] = {
        "loader": loader_of(),
        "optimizer": sgd,
        "scheduler": SCHEDULE,
        "checkpoint": folder,
        "device": "cpu",
        **settings,
    }
    return recipes.apply("multi_loss", model_of(), epochs=epochs, **given)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    went_on(folder, epochs=1)
    return folder


class Smoothed(nn.CrossEntropyLoss):
    pass


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"optimizer": partial(sgd, lr=0.01)}, r"lr of the optimizer was 0\.1 and is 0\.01\."),
        ({"optimizer": partial(sgd, momentum=0)}, r"momentum of the optimizer was 0\.9 and is 0\."),
        ({"optimizer": partial(sgd, nesterov=np.True_)}, "nesterov .* was False and is True"),
        ({"scheduler": partial(SCHEDULE, gamma=0.1)}, r"gamma of the scheduler was 0\.5 and is 0"),
        ({"scheduler": None}, "scheduler was 'StepLR' and is None"),
        ({"schedule_by": "step"}, "schedule_by was 'epoch' and is 'step'"),
        ({"loss": nn.functional.nll_loss}, "loss was '.*default_loss' and is '.*nll_loss'"),
        ({"loader": loader_of(4)}, "batch size was 8 and is 4"),
        ({"accumulate": 2}, "accumulate was 1 and is 2"),
        ({"clip_norm": 2.0}, r"clip_norm was None and is 2\.0"),
        ({"precision": "bf16"}, "precision was 'float32' and is 'bfloat16'"),
        ({"heads": {name: nn.Linear(8, 3, bias=False) for name in NAMES}}, "parameters was"),
        ({"anatomy": {"audio": "audio.0", "visual": "visual"}}, "encoders was .*'audio.0'"),
    ],
)  # fmt: skip
def test_a_setting_that_was_another_is_told_with_both_values(begun, settings, told) -> None:
    with pytest.raises(CheckpointError, match=told):
        went_on(begun, **settings)


def test_the_same_settings_of_a_loss_are_the_same_and_others_are_told(tmp_path: Path) -> None:
    went_on(tmp_path, epochs=1, loss=nn.CrossEntropyLoss(label_smoothing=0.1))
    went_on(tmp_path, epochs=2, loss=nn.CrossEntropyLoss(label_smoothing=0.1))
    with pytest.raises(CheckpointError, match=r"'label_smoothing': 0\.1.* and is .*: 0\.2"):
        went_on(tmp_path, epochs=3, loss=nn.CrossEntropyLoss(label_smoothing=0.2))
    with pytest.raises(CheckpointError, match=r"loss\.CrossEntropyLoss'.* and is .*Smoothed"):
        went_on(tmp_path, epochs=3, loss=Smoothed(label_smoothing=0.1))


class Tempered(nn.Module):
    """It is trained beside the model, and may know the model."""

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.weights = nn.CrossEntropyLoss(weight=torch.ones(3))
        self.register_buffer("seen", torch.tensor(0))
        self.model = model

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return self.weights(logits * self.temperature, labels) + self.seen * self.temperature**2


class Wrapped(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.loss(logits, labels)


def test_tensors_and_parts_of_a_loss_are_compared(tmp_path: Path) -> None:
    def loss(last: float, smoothing: float = 0.1) -> nn.Module:
        weight = torch.tensor([1.0, 2.0, last])
        own = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
        return Wrapped(own)

    went_on(tmp_path, epochs=1, loss=loss(3.0))
    went_on(tmp_path, epochs=2, loss=loss(3.0))
    with pytest.raises(CheckpointError, match="loss was"):
        went_on(tmp_path, epochs=3, loss=loss(4.0))
    with pytest.raises(CheckpointError, match="loss was"):
        went_on(tmp_path, epochs=3, loss=loss(3.0, smoothing=0.2))


@pytest.mark.parametrize("knows", [False, True])
def test_a_loss_that_is_trained_goes_on_where_it_was(tmp_path: Path, knows: bool) -> None:
    def ends(*epochs: int, folder: Path | None) -> dict[str, torch.Tensor]:
        model = loss = nn.Module()
        for last in epochs:
            model = model_of(norm=True)
            loss = Tempered(model if knows else None)
            made = sgd([*model.parameters(), loss.temperature])
            recipes.apply(
                "none", model, loader_of(), epochs=last, optimizer=made, loss=loss,
                checkpoint=folder, device="cpu",
            )  # fmt: skip
        return {**weights_of(model), **weights_of(loss)}

    assert same(ends(1, 2, folder=tmp_path), ends(2, folder=None))


def test_an_optimizer_that_kept_the_heads_of_a_training_is_told(tmp_path: Path) -> None:
    model = model_of()
    optimizer = sgd(model.parameters())
    given: dict[str, Any] = {"optimizer": optimizer, "checkpoint": tmp_path, "device": "cpu"}
    recipes.apply("multi_loss", model, loader_of(), epochs=1, **given)
    with pytest.raises(CheckpointError, match=r"per group was \[6, 4\] and is \[6, 4, 4\]"):
        recipes.apply("multi_loss", model, loader_of(), epochs=2, **given)


def test_what_does_not_change_what_is_trained_may_be_another(tmp_path: Path) -> None:
    went_on(tmp_path, epochs=1)
    fit = went_on(
        tmp_path,
        epochs=3,
        optimizer=partial(sgd, foreach=False),
        val_loader=loader_of(),
        keep="last",
        patience=9,
        checkpoint_every=1,
    )
    assert fit.history.sizes["epoch"] == 3


@pytest.mark.parametrize(
    "scheduler",
    [
        SCHEDULE,
        partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=9),
        partial(lr_scheduler.MultiStepLR, milestones=[1, 2]),
        lambda made: lr_scheduler.SequentialLR(
            made, [lr_scheduler.LinearLR(made), lr_scheduler.ExponentialLR(made, 0.5)], [1]
        ),
        partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=10.0),
    ],
)
def test_an_optimizer_whose_rates_have_changed_since_goes_on(tmp_path: Path, scheduler) -> None:
    model = model_of()
    optimizer = sgd(model.parameters())
    for epochs in (1, 2, 3):
        fit = recipes.apply(
            "none", model, loader_of(), epochs=epochs, optimizer=optimizer, scheduler=scheduler,
            checkpoint=tmp_path, device="cpu", val_loader=loader_of(), keep="last",
        )  # fmt: skip
    rates = fit.history["learning_rate"].values
    assert len(set(rates)) > 1


def test_the_parts_of_a_scheduler_are_compared(tmp_path: Path) -> None:
    def made_of(gamma: float) -> Any:
        return lambda made: lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(made), lr_scheduler.ExponentialLR(made, gamma)]
        )

    went_on(tmp_path, epochs=1, scheduler=made_of(0.5))
    with pytest.raises(CheckpointError, match="parts of the scheduler was"):
        went_on(tmp_path, scheduler=made_of(0.4))


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda made, last: lr_scheduler.CyclicLR(made, 0.01, max_lr=last),
        lambda made, last: lr_scheduler.SequentialLR(
            made,
            [lr_scheduler.LinearLR(made), lr_scheduler.ExponentialLR(made, 0.5)],
            [round(10 * last)],
        ),
    ],
)
def test_what_a_scheduler_keeps_under_another_name_is_compared(tmp_path: Path, scheduler) -> None:
    went_on(tmp_path, epochs=1, scheduler=partial(scheduler, last=0.2))
    went_on(tmp_path, epochs=2, scheduler=partial(scheduler, last=0.2))
    with pytest.raises(CheckpointError, match=r"(max_lr|milestones) of the scheduler was"):
        went_on(tmp_path, epochs=3, scheduler=partial(scheduler, last=0.3))


def test_rates_of_groups_are_compared_one_by_one(tmp_path: Path) -> None:
    def grouped(rate: float) -> Any:
        def optimizer(parameters: Any) -> torch.optim.Optimizer:
            first, *others = parameters
            return torch.optim.SGD([{"params": [first], "lr": rate}, {"params": others}], lr=0.1)

        return optimizer

    went_on(tmp_path, epochs=1, scheduler=None, optimizer=grouped(0.5))
    with pytest.raises(CheckpointError, match=r"lr of the optimizer was \[0\.5, 0\.1\] and is \[0"):
        went_on(tmp_path, scheduler=None, optimizer=grouped(0.4))
