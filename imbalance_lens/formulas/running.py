"""Running statistics: numbers over a whole run, from one batch at a time.

Both accumulators work in double precision on the device of what they are given, never wait for
it, and give the same however the examples are split into batches, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from .. import checks


@dataclass
class Moments:
    """Count, mean and standard deviation of all values so far.

    Equation, to join two parts with the shift d = mean_b - mean_a:
    M2 = M2_a + M2_b + d^2 n_a n_b / (n_a + n_b) (Chan, Golub and LeVeque, 1979). Sums of squares
    would lose everything where the mean is large.

    Attributes:
        count: number of values.
        mean: of the shape of one value; NaN before the first.
        m2: sum of the squared distances from the mean, of the same shape.

    Example:
        >>> moments = Moments()
        >>> moments.update(torch.tensor([1.0, 2.0]))
        >>> moments.update(torch.tensor([3.0]))
        >>> moments.count, moments.mean.item(), round(moments.std.item(), 4)
        (3, 2.0, 0.8165)
    """

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.tensor(torch.nan, dtype=torch.float64))
    m2: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    @property
    def std(self) -> Tensor:
        """The population standard deviation: 0 for one value, NaN for none."""
        return (self.m2 / self.count).sqrt()

    def update(self, values: Tensor) -> None:
        """Take in values of shape (count, ...)."""
        values = values.detach().double()
        mean = values.mean(0)
        self.merge(type(self)(len(values), mean, (values - mean).square().sum(0)))

    def merge(self, other: Self) -> None:
        """Take in what another one has counted."""
        if not other.count:
            return
        if not self.count:
            self.count, self.mean, self.m2 = other.count, other.mean, other.m2
            return
        total = self.count + other.count
        shift = other.mean.to(self.mean.device) - self.mean
        self.m2 = (
            self.m2 + other.m2.to(self.m2.device) + shift**2 * (self.count * other.count / total)
        )
        self.mean = self.mean + shift * (other.count / total)
        self.count = total


class ClassSums:
    """Sum and count of values per class.

    Args:
        classes: number of classes. A value whose label is none of them is left out.

    Attributes:
        sums: (classes,).
        counts: (classes,).

    Example:
        >>> norms = ClassSums(3)
        >>> norms.update(torch.tensor([5.0, 2.0, 1.0]), torch.tensor([0, 0, 1]))
        >>> norms.mean
        tensor([3.5000, 1.0000,    nan], dtype=torch.float64)
    """

    def __init__(self, classes: int) -> None:
        checks.positive("classes", classes)
        self.sums = torch.zeros(classes, dtype=torch.float64)
        self.counts = torch.zeros(classes, dtype=torch.float64)
        self._empty = True

    @property
    def mean(self) -> Tensor:
        """The mean per class; NaN for a class without a value."""
        return self.sums / self.counts

    def update(self, values: Tensor, labels: Tensor) -> None:
        """Take in one value (batch,) per label (batch,)."""
        fits = values.ndim == 1 and values.shape == labels.shape
        checks.shape("values", values, f"(batch,), as labels are {tuple(labels.shape)}", fits)
        classes = torch.arange(len(self.sums), device=labels.device)
        belongs = labels.unsqueeze(1) == classes
        # Not a product with the one-hot labels: there a NaN times 0 would reach every class.
        sorted_out = values.detach().double().unsqueeze(1).masked_fill(~belongs, 0)
        self._add(sorted_out.sum(0), belongs.sum(0))

    def merge(self, other: Self) -> None:
        """Take in what another one has summed."""
        fits = other.sums.shape == self.sums.shape
        checks.shape("The other's sums", other.sums, f"{tuple(self.sums.shape)}", fits)
        if not other._empty:
            self._add(other.sums, other.counts)

    def _add(self, sums: Tensor, counts: Tensor) -> None:
        if self._empty:  # the first batch says on which device; to move there would wait for it
            self.sums, self.counts, self._empty = sums, counts.double(), False
            return
        self.sums = self.sums + sums.to(self.sums.device)
        self.counts = self.counts + counts.to(self.counts.device)
