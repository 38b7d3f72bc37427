"""What is counted of activations: how often each channel is dead, and its extremes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

_ENOUGH = 64
"""Examples from which on counting costs more than starting to count."""
_PER_CHANNEL = ("dead", "nan", "highest", "weakest", "lowest", "class_dead")


@dataclass
class Extremes:
    """Counts and extremes of any number of channels, over all examples so far.

    Attributes:
        dead: (channels,), examples in which a channel is dead.
        nan: (channels,), examples in which it holds a NaN.
        highest: (channels,), its largest entry; NaN where one is.
        weakest: (channels,), the smallest of the examples' largest entries.
        lowest: (channels,), its smallest entry of those that were looked at.
        class_dead: (classes, channels), the dead ones of the examples with a label.
        class_examples: (classes,), the examples with a label.
        examples: all of them.
        tolerance: size up to which an entry counts as 0; with 0, so does a negative one.
        waiting: batches that are not counted yet, since they are small: the upper and the lower
            ends of each example's map, and its label. `settle` counts them.
    """

    dead: Tensor
    nan: Tensor
    highest: Tensor
    weakest: Tensor
    lowest: Tensor
    class_dead: Tensor
    class_examples: Tensor
    examples: int = 0
    tolerance: float = 0.0
    waiting: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    @classmethod
    def none_of(cls, peaks: Tensor, classes: int, tolerance: float) -> Self:
        """Return the counts over no examples, for channels as in peaks (batch, channels)."""
        channels = peaks.shape[1]

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=peaks.device)

        return cls(
            dead=zeros(channels),
            nan=zeros(channels),
            highest=peaks.new_full((channels,), -torch.inf),
            weakest=peaks.new_full((channels,), torch.inf),
            lowest=peaks.new_full((channels,), torch.inf),
            class_dead=zeros(classes, channels),
            class_examples=zeros(classes),
            tolerance=tolerance,
        )

    def take(self, highest: Tensor, lowest: Tensor, labels: Tensor) -> bool:
        """Take in one batch, and count as soon as there are enough examples.

        Args:
            highest: (batch, channels), the ends of each example's map.
            lowest: (batch, channels).
            labels: (batch,) class indices, or empty.

        Returns:
            Whether everything is counted.
        """
        if self.waiting and bool(len(labels)) != bool(len(self.waiting[0][2])):
            self.settle()
        self.waiting.append((highest, lowest, labels.clone()))  # which are the loader's
        if sum(len(rows) for rows, *_ in self.waiting) < _ENOUGH:
            return False
        self.settle()
        return True

    def settle(self) -> None:
        """Count what is waiting."""
        if not self.waiting:
            return
        highest, lowest, labels = map(torch.cat, zip(*self.waiting, strict=True))
        self.waiting.clear()
        is_dead = highest <= self.tolerance  # false for NaN
        if self.tolerance:
            is_dead &= lowest >= -self.tolerance
        counted = is_dead.int()
        self.dead += counted.sum(0, dtype=torch.int32)
        self.nan += highest.isnan().sum(0, dtype=torch.int32)
        self.highest = torch.maximum(self.highest, highest.amax(0))
        self.weakest = torch.minimum(self.weakest, highest.amin(0))
        self.lowest = torch.minimum(self.lowest, lowest.amin(0))
        self.examples += len(highest)
        if len(labels) and len(self.class_dead):
            # In place, since a table of classes and channels can be large.
            self.class_dead.index_add_(0, labels, counted)
            self.class_examples.index_add_(0, labels, torch.ones_like(labels, dtype=torch.int32))

    def add(self, other: Self) -> None:
        """Take in other examples of the same channels."""
        self.settle()
        other.settle()
        device = self.dead.device
        for name in ("dead", "nan", "class_dead", "class_examples"):
            getattr(self, name).add_(getattr(other, name).to(device))
        self.highest = torch.maximum(self.highest, other.highest.to(device))
        self.weakest = torch.minimum(self.weakest, other.weakest.to(device))
        self.lowest = torch.minimum(self.lowest, other.lowest.to(device))
        self.examples += other.examples

    def copy(self) -> Self:
        """Return the same counts, which go on by themselves."""
        self.settle()
        tensors = {n: each.clone() for n, each in vars(self).items() if isinstance(each, Tensor)}
        return replace(self, **tensors, waiting=[])

    def parts(self, sizes: Sequence[int]) -> list[Self]:
        """Return the channels in parts of these sizes, copied to the host."""
        self.settle()
        columns = (getattr(self, name).cpu().split(list(sizes), -1) for name in _PER_CHANNEL)
        on_host = replace(self, class_examples=self.class_examples.cpu())
        return [
            replace(on_host, **dict(zip(_PER_CHANNEL, row, strict=True))).copy()
            for row in zip(*columns, strict=True)
        ]
