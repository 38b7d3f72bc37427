"""What the labels are: classes, several labels per example, or numbers to predict."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from imbalance_lens.errors import BatchError, SettingError

from ._base import Recipe


def classifies(labels: Tensor) -> bool:
    """Say whether labels are class indices (batch,)."""
    return labels.ndim == 1 and not labels.is_floating_point() and not labels.is_complex()


def several_per_example(labels: Tensor) -> bool:
    """Say whether labels are zeros and ones (batch, classes); waits for their device."""
    if labels.ndim != 2 or labels.shape[1] < 2:
        return False
    return not labels.is_floating_point() or bool(((labels == 0) | (labels == 1)).all())


def regression(labels: Tensor, recipes: Iterable[Recipe]) -> bool:
    """Return whether labels are numbers to predict, from the first batch of a training.

    Raises:
        SettingError: one of the recipes is not defined for such labels.
    """
    if classifies(labels):
        return False
    several = several_per_example(labels)
    kind = "several labels per example" if several else "numbers to predict"
    for recipe in recipes:
        if not (recipe.multilabel if several else recipe.regresses):
            raise SettingError(
                f"{recipe.name!r} compares true-class probabilities, and the labels are {kind} "
                f"({str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape)}). "
                "Its paper has no form for that. Give class indices (batch,) as integers, or take "
                "'none' or 'multi_loss'."
            )
    return not several


def default_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of class indices.

    Raises:
        BatchError: the labels are no class indices, so the loss has to be given.
    """
    if not classifies(labels):
        raise BatchError(
            f"The labels are {str(labels.dtype).removeprefix('torch.')} of shape "
            f"{tuple(labels.shape)}, no class indices (batch,). Give integers, or pass loss=, a "
            "function of logits and labels."
        )
    return nn.functional.cross_entropy(logits, labels)
