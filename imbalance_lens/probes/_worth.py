"""What a set of modalities is worth to an example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .. import checks, formulas
from ..errors import SettingError
from ._scores import scored


class Worth(NamedTuple):
    """One way to value a set: from logits and labels to (batch,), times its size if it counts."""

    of: Callable[[Tensor, Tensor], Tensor]
    units: str
    described: str
    size_counts: bool = False


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    return scored(logits, labels)[1]


WORTHS = {
    "confidence": Worth(formulas.label_confidence, "1", "probability of the true class"),
    "correct": Worth(_correct, "1", "1 where the answer is right; its mean is the accuracy"),
    "valuation": Worth(
        _correct, "1", "number of modalities present where the answer is right, else 0", True
    ),
    "logit": Worth(formulas.true_class_logit, "logit", "logit of the true class"),
    "log_probability": Worth(
        formulas.label_log_probability, "nat", "logarithm of the probability of the true class"
    ),
}


def worths(names: Sequence[str], logits: Tensor, labels: Tensor, size: int) -> Tensor:
    """Return what a set of `size` modalities with these logits is worth, (batch, values)."""
    columns = []
    for worth in (WORTHS[name] for name in names):
        column = worth.of(logits, labels).double()
        columns.append(size * column if worth.size_counts else column)
    return torch.stack(columns, 1)


def common_units(names: Sequence[str]) -> str:
    """Return the units of some values.

    Raises:
        SettingError: an unknown value, one twice, none at all, or values of different units.
    """
    for place, name in enumerate(names):
        checks.one_of("value", name, WORTHS)
        checks.unique("values", name, names[:place])
    units = {WORTHS[name].units for name in names}
    if len(units) != 1:
        by_units: dict[str, list[str]] = {}
        for name, worth in WORTHS.items():
            by_units.setdefault(worth.units, []).append(name)
        groups = "; ".join(", ".join(map(repr, group)) for group in by_units.values())
        raise SettingError(
            f"values must be of one unit, and there must be one at least; got {list(names)!r}. "
            f"Of one unit each are: {groups}."
        )
    return units.pop()
