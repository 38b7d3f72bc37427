"""What the schedule and the validation decide: learning rates, the end, and the weights kept."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import recipes
from imbalance_lens.errors import BatchError, SettingError
from recipes.fust import FusT

from .trainings import Listening, data_of, fitted, loader_of, model_of, same, sgd, trained


@pytest.mark.parametrize(("by", "rates"), [("epoch", [0.1, 0.05]), ("step", [0.0125, 0.0015625])])
def test_the_scheduler_steps_with_the_epoch_or_the_optimizer(by: str, rates: list) -> None:
    halved = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    fit = recipes.apply(
        "none",
        model_of(),
        loader_of(8),
        epochs=2,
        optimizer=sgd,
        scheduler=halved,
        schedule_by=by,
        device="cpu",
    )
    assert fit.history["learning_rate"].values == pytest.approx(rates)


def test_the_validation_loss_can_steer_the_learning_rate() -> None:
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=10.0)
    given: dict[str, Any] = {"epochs": 4, "scheduler": plateau, "optimizer": sgd, "device": "cpu"}
    fit = recipes.apply("none", model_of(), loader_of(), val_loader=loader_of(), **given)
    assert fit.history["learning_rate"].values[-1] < 0.1
    with pytest.raises(SettingError, match="val_loader"):
        recipes.apply("none", model_of(), loader_of(), **given)
    with pytest.raises(SettingError, match="schedule_by='epoch'"):
        recipes.apply(
            "none", model_of(), loader_of(), val_loader=loader_of(), schedule_by="step", **given
        )


def fit_that_gets_worse(recipe: Any = "none", **settings: Any) -> recipes.Fit:
    """Judged by wrong labels, so that everything learned makes it worse."""
    *inputs, labels = data_of().tensors
    wrong = [(*inputs, (labels + 1) % 3)]
    given: dict[str, Any] = {"val_loader": wrong, "optimizer": sgd, "epochs": 12, "device": "cpu"}
    return recipes.apply(recipe, model_of(), loader_of(), **given | settings)


def test_training_stops_early_and_keeps_the_best_weights() -> None:
    fit = fit_that_gets_worse(patience=2)
    accuracies = fit.history["val_accuracy"].values
    best = int(accuracies.argmax())
    assert fit.best_epoch == best
    assert len(accuracies) == best + 3 < 12
    assert accuracy_of(fit.model) == accuracies[best] > accuracies[-1]


def test_the_last_weights_are_kept_where_that_is_asked_for() -> None:
    fit = fit_that_gets_worse(keep="last")
    accuracies = fit.history["val_accuracy"].values
    assert len(accuracies) == 12
    assert fit.best_epoch == int(accuracies.argmax())
    assert accuracy_of(fit.model) == accuracies[-1] < accuracies[fit.best_epoch]


def test_only_epochs_that_train_the_joint_logits_are_judged() -> None:
    staged = FusT(unimodal_epochs=3, masking="none")
    fit = fit_that_gets_worse(staged, epochs=12, patience=2)
    accuracies = fit.history["val_accuracy"].values
    best = 3 + int(accuracies[3:].argmax())
    assert fit.best_epoch == best
    assert len(accuracies) == best + 3
    assert accuracy_of(fit.model) == accuracies[best]
    alone = fit_that_gets_worse("unimodal", epochs=4, patience=1)
    assert alone.best_epoch is None
    assert alone.history.sizes["epoch"] == 4


class Alone(recipes.Recipe):
    card = Listening.card

    @property
    def trains_joint(self) -> bool:
        return False


@pytest.mark.parametrize(("acts", "judged"), [((2, 3), (0, 2)), ((0, 1), (2, 6)), ((0, 5), None)])
def test_a_recipe_says_what_is_trained_in_those_epochs_only_in_which_it_acts(acts, judged) -> None:
    first, last = acts
    fit = fit_that_gets_worse(Alone(start_epoch=first, end_epoch=last), epochs=6, keep="last")
    accuracies = fit.history["val_accuracy"].values
    expected = judged and judged[0] + int(accuracies[slice(*judged)].argmax())
    assert fit.best_epoch == expected


def accuracy_of(model: nn.Module) -> float:
    *inputs, labels = data_of().tensors
    with torch.no_grad():
        return float((model.eval()(*inputs).argmax(1) == (labels + 1) % 3).double().mean())


def test_validation_changes_nothing_in_the_training() -> None:
    held_out = {"val_loader": loader_of(7, 20), "keep": "last", "epochs": 2}
    for recipe in ("none", "ogm_ge", "opm", "mlb"):
        assert same(trained(recipe, **held_out), trained(recipe, epochs=2)), recipe


AUDIO, VISUAL, LABELS = data_of().tensors


@pytest.mark.parametrize(
    ("held_out", "complaint"),
    [
        ([], "The validation loader gave no batch"),
        ([{"audio": AUDIO, "visual": VISUAL}], "The validation loader gave no labels in batch 1"),
        ([(AUDIO, VISUAL, LABELS + 1)], "The validation data do not fit. Label 3 is out of range"),
        ([(AUDIO, VISUAL, LABELS[:5])], "do not fit. The batch has 24 examples and 5 labels"),
        ([(AUDIO, VISUAL, LABELS.float())], "do not fit. The labels are float32"),
        (iter([(AUDIO, VISUAL, LABELS)]), "can be gone through only once, and epoch 2 is asked"),
    ],
)
def test_validation_data_that_cannot_be_used_cost_no_epoch(held_out: Any, complaint: str) -> None:
    listening = Listening()
    with pytest.raises(BatchError, match=complaint):
        fitted(listening, model_of(), val_loader=held_out, epochs=2)
    assert {event for event, *_ in listening.told} == {"on_fit_start", "on_fit_end"}


def test_a_later_batch_is_looked_at_too() -> None:
    held_out = [(AUDIO, VISUAL, LABELS), (AUDIO, VISUAL, LABELS + 1)]
    with pytest.raises(BatchError, match="Label 3 is out of range"):
        fitted("none", model_of(), val_loader=held_out)


class KeepsOne(IterableDataset):
    """It gives the same iterator whenever it is asked."""

    def __init__(self, content: Iterable[Any]) -> None:
        self.kept = iter(content)

    def __iter__(self) -> Iterator[Any]:
        return self.kept


HALVES = [tuple(t[half] for t in (AUDIO, VISUAL, LABELS)) for half in (slice(12), slice(12, None))]


@pytest.mark.parametrize("made", [iter, KeepsOne, lambda _: DataLoader(KeepsOne([*data_of()]), 12)])
def test_what_can_be_read_once_serves_the_one_epoch_that_it_has(made: Any) -> None:
    whole, once = (fitted("none", model_of(), val_loader=v) for v in (HALVES, made(HALVES)))
    assert whole.history["val_loss"].equals(once.history["val_loss"])
    with pytest.raises(BatchError, match="can be gone through only once, and epoch 2 is asked"):
        fitted("none", model_of(), val_loader=made(HALVES), epochs=2)


def test_trying_out_the_validation_data_draws_nothing() -> None:
    def at_the_start(own: torch.Generator, **given: Any) -> list[list[int]]:
        states: list[list[int]] = []

        class Noting(recipes.Recipe):
            card = Listening.card

            def on_epoch_start(self, run: recipes.Run) -> None:
                states.extend([own.get_state().tolist(), torch.get_rng_state().tolist()])

        torch.manual_seed(3)
        recipes.apply(Noting(), model_of(), loader_of(), epochs=1, device="cpu", **given)
        return states

    own = torch.Generator().manual_seed(5)
    without = at_the_start(own)
    held_out = loader_of(7, 20, shuffle=True, generator=own)
    assert at_the_start(own, val_loader=held_out) == without
