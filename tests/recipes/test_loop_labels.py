"""Labels and losses of every kind in the bundled loop."""

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from imbalance_lens.errors import (
    BatchError,
    SettingError,
    TrainingError,
)

from .trainings import (
    CLASSES,
    fitted,
    loader_of,
    model_of,
)


@pytest.mark.parametrize("recipe", ["none", "ogm_ge"])
def test_labels_that_do_not_fit_are_refused_in_words(recipe: str) -> None:
    whole = list(loader_of())
    with pytest.raises(BatchError, match="no labels in batch"):
        fitted(recipe, model_of(), [{"audio": a, "visual": v} for a, v, _ in whole])
    with pytest.raises(BatchError, match="Label 7 is out of range"):
        fitted(recipe, model_of(), [(a, v, torch.where(y == 2, 7, y)) for a, v, y in whole])
    with pytest.raises(BatchError, match="Label -1 is out of range"):
        fitted(recipe, model_of(), [(a, v, y - 1) for a, v, y in whole])
    with pytest.raises((BatchError, SettingError), match=r"float32|numbers to predict"):
        fitted(recipe, model_of(), [(a, v, y.float()) for a, v, y in whole])
    with pytest.raises(BatchError, match=r"got \(8, 3\) and \(7,\)"):
        fitted(recipe, model_of(), [(a, v, y[:-1]) for a, v, y in whole])
    with pytest.raises(BatchError, match="no batch"):
        fitted(recipe, model_of(), [])
    with pytest.raises(BatchError, match="lose the batch"):
        fitted(recipe, model_of(), iter(whole))


def targets(kind: str) -> list[tuple]:
    draw = torch.Generator().manual_seed(0)
    if kind == "several":
        return [(a, v, nn.functional.one_hot(y, CLASSES).float()) for a, v, y in loader_of()]
    return [(a, v, torch.randn(len(y), CLASSES, generator=draw)) for a, v, y in loader_of()]


@pytest.mark.parametrize("recipe", ["none", "unimodal", "multi_loss", "mlb"])
def test_numbers_can_be_predicted(recipe: str) -> None:
    fit = fitted(
        recipe, model_of(), targets("numbers"), val_loader=targets("numbers"),
        loss=nn.functional.mse_loss, epochs=2,
    )  # fmt: skip
    assert fit.history["val_loss"].notnull().all()
    assert "val_accuracy" not in fit.history
    assert "step_accuracy" not in fit.history
    assert ("step_error" in fit.history) == (recipe == "mlb")
    best = int(fit.history["val_loss"].values.argmin())
    assert fit.best_epoch == (None if recipe == "unimodal" else best)


@pytest.mark.parametrize("recipe", ["none", "unimodal", "multi_loss"])
def test_several_labels_per_example_train(recipe: str) -> None:
    loss = nn.functional.binary_cross_entropy_with_logits
    data = targets("several")
    fit = fitted(recipe, model_of(), data, val_loader=data, loss=loss)
    assert fit.history["step_loss"].notnull().all()


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [("ogm_ge", "numbers"), ("opm", "numbers"), ("ogm_ge", "several"), ("mlb", "several")],
)
def test_labels_that_a_paper_has_no_form_for_are_refused(recipe: str, kind: str) -> None:
    with pytest.raises(SettingError, match="Its paper has no form for that"):
        fitted(recipe, model_of(), targets(kind), loss=nn.functional.mse_loss)
    with pytest.raises(BatchError, match="pass loss="):
        fitted("none", model_of(), targets(kind))


def test_one_number_per_example_can_be_predicted() -> None:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.mse_loss(logits.squeeze(1), labels)

    data = [(a, v, y.float()) for a, v, y in loader_of()]
    for recipe in ("none", "multi_loss", "mlb"):
        fit = fitted(recipe, model_of(head=nn.Linear(16, 1)), data, val_loader=data, loss=loss)
        assert fit.history["val_loss"].notnull().all()


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_good_checkpoint(
    tmp_path,
) -> None:
    good = list(loader_of())
    bad = [*good, (good[0][0] * torch.nan, *good[0][1:])]
    model = model_of()
    with pytest.raises(TrainingError, match="step 3 of this run"):
        fitted("ogm_ge", model, bad, checkpoint=tmp_path / "run", checkpoint_every=1)
    again = model_of()
    with pytest.raises(TrainingError, match="step 0 of this run"):
        fitted("ogm_ge", again, bad, checkpoint=tmp_path / "run", checkpoint_every=1)
    for path in (tmp_path / "run").glob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())
    fit = fitted("ogm_ge", model_of(), [*good, *good], checkpoint=tmp_path / "run", epochs=2)
    assert fit.history.sizes["step"] == 12


def test_weights_that_are_no_numbers_are_never_kept(tmp_path) -> None:
    """The loss of the step that breaks them is still a number."""

    def breaking(logits: Tensor, labels: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(logits, labels)
        steps.append(1)
        return loss + (loss - loss.detach()).abs().sqrt() if len(steps) == 3 else loss

    steps: list[int] = []
    with pytest.raises(TrainingError, match="After 3 steps, weights are NaN"):
        fitted(
            "none", model_of(), loss=breaking, epochs=2, checkpoint=tmp_path / "run",
            checkpoint_every=1,
        )  # fmt: skip
    kept = sorted((tmp_path / "run").glob("0*.safetensors"))
    assert kept
    for path in kept:
        assert all(tensor.isfinite().all() for tensor in load_file(path).values()), path.name


@pytest.mark.parametrize("recipe", ["none", "multi_loss"])
def test_a_loss_that_is_not_one_number_is_refused_in_words(recipe: str) -> None:
    with pytest.raises(SettingError, match=r"loss=function gave \(8,\)"):
        fitted(recipe, model_of(), loss=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(SettingError, match="loss=function gave float"):
        fitted(recipe, model_of(), loss=lambda logits, labels: 0.5)
