"""What is said of heads, and of heads and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import schema

if TYPE_CHECKING:
    import xarray as xr

CORRECT = "imbalance_lens.formulas.scores.correct"


def of_heads(
    values: Sequence[Any] | np.ndarray, long_name: str, *, units: str = "1", formula: str
) -> xr.Variable:
    """Return a variable with one value per head."""
    return schema.variable(
        ("head",), np.asarray(values), units=units, long_name=long_name, formula=formula
    )


def class_accuracies(right: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, xr.Variable]:
    """Return the accuracy of each head on each class, and how many examples that is.

    Args:
        right: (examples, heads), whether the answer is right.
        labels: (examples,).
        classes: number of classes.
    """
    examples = np.bincount(labels, minlength=classes)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no example of that class
        accuracy = np.stack([np.bincount(labels, own, classes) for own in right.T]) / examples
    return {
        "class_accuracy": schema.variable(
            ("head", "label"),
            accuracy,
            units="1",
            long_name="accuracy of a linear classifier on the examples of a class",
            formula=CORRECT,
        ),
        "class_examples": schema.variable(
            ("label",),
            examples,
            units="example",
            long_name="examples of a class",
            formula="numpy.bincount",
        ),
        "majority": schema.variable(
            (),
            examples.max() / examples.sum(),
            units="1",
            long_name="accuracy of always answering the most frequent label",
            formula="numpy.bincount",
        ),
    }
