"""What is counted of activations: how often each channel is dead, and its extremes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_CHANNEL_COUNTS = ("dead", "nan", "class_dead")
_COUNTS = (*_CHANNEL_COUNTS, "class_examples", "examples")


@dataclass
class Extremes:
    """Counts and extremes of any number of channels, over all examples so far.

    Attributes:
        dead: (channels,), examples in which a channel is dead.
        nan: (channels,), examples in which it holds a NaN.
        highest: (channels,), its largest entry; NaN where one is.
        lowest: (channels,), its smallest.
        class_dead: (channels, classes), the dead ones of the examples with a label.
        class_examples: (classes,), the examples with a label.
        examples: (), all of them.
    """

    dead: Tensor
    nan: Tensor
    highest: Tensor
    lowest: Tensor
    class_dead: Tensor
    class_examples: Tensor
    examples: Tensor

    @classmethod
    def of(
        cls, highest: Tensor, lowest: Tensor, labels: Tensor, classes: int, tolerance: float
    ) -> Self:
        """Count one batch.

        Args:
            highest: (batch, channels).
            lowest: (batch, channels).
            labels: (batch,), or empty.
            classes: number of classes.
            tolerance: size up to which an entry counts as 0; with 0, so does a negative one.
        """
        dead = highest <= tolerance  # false for NaN
        if tolerance:
            dead &= lowest >= -tolerance
        is_class = labels.unsqueeze(1) == torch.arange(classes, device=labels.device)
        # In double precision, which autocast leaves alone.
        class_dead = dead[: len(labels)].double().T @ is_class.double()
        return cls(
            dead=dead.sum(0),
            nan=highest.isnan().sum(0),
            highest=highest.amax(0),
            lowest=lowest.amin(0),
            class_dead=class_dead.int(),
            class_examples=is_class.sum(0),
            examples=torch.full((), len(highest), device=highest.device),
        )

    def add(self, other: Self) -> None:
        """Take in other examples of the same channels."""
        for name in _COUNTS:
            mine, more = getattr(self, name), getattr(other, name)
            setattr(self, name, mine + more.to(mine.device))
        self.highest = torch.maximum(self.highest, other.highest.to(self.highest.device))
        self.lowest = torch.minimum(self.lowest, other.lowest.to(self.lowest.device))

    def parts(self, sizes: Sequence[int]) -> list[Self]:
        """Return the channels in parts of these sizes, on the host."""
        whole = {name: value.cpu() for name, value in vars(self).items()}
        split = (*_CHANNEL_COUNTS, "highest", "lowest")
        rows = zip(*(whole[name].split(list(sizes)) for name in split), strict=True)
        return [type(self)(**{**whole, **dict(zip(split, row, strict=True))}) for row in rows]
