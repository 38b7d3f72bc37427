"""Calibration: whether a model is right as often as it says it is."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast
from .running import ClassSums, Moments


def top_confidence(logits: Tensor) -> Tensor:
    """Return the probability that each example's most likely class gets.

    Equation: p_i = max_c softmax(z_i)_c.

    Args:
        logits: (batch, classes); half precision is raised to single before the softmax.

    Returns:
        (batch,) between 1 / classes and 1; NaN where the logits have no softmax.

    Raises:
        SettingError: not (batch, classes).

    Example:
        >>> top_confidence(torch.tensor([[0.0, 0.0], [0.0, 100.0]]))
        tensor([0.5000, 1.0000])
    """
    checks.shape("logits", logits, "(batch, classes)", logits.ndim == 2)
    return upcast(logits).softmax(1).amax(1)


def expected_calibration_error(confidence: Tensor, correct: Tensor, bins: int = 15) -> Tensor:
    """Return how far confidence and accuracy are apart, on average over bins of confidence.

    Equation: ECE = sum_b n_b / N |acc_b - conf_b| (Guo et al., ICML 2017, eq. 3), over bins of
    equal width.

    Args:
        confidence: (examples,) between 0 and 1.
        correct: (examples,) whether the class of that confidence is the true one.
        bins: their number; 15 is theirs.

    Returns:
        Scalar between 0 and 1, in double precision; NaN where a confidence is NaN.

    Raises:
        SettingError: `bins` is not above 0, or the shapes do not fit.

    Example:
        >>> confidence, right = torch.tensor([0.9, 0.7, 0.7, 0.7]), torch.tensor([1, 1, 0, 0])
        >>> expected_calibration_error(confidence, right)
        tensor(0.3000, dtype=torch.float64)
    """
    reliability = Reliability(bins)
    reliability.update(confidence, correct)
    return reliability.expected_error


class Reliability:
    """Counts, mean confidence and accuracy per bin of confidence, from one batch at a time.

    Bin b holds the confidences c with b / bins < c <= (b + 1) / bins, and the first one 0 too.
    Sums are kept in double precision where the numbers are; nothing waits for the device.

    Args:
        bins: their number, of equal width.

    Attributes:
        bins: their number.

    Raises:
        SettingError: `bins` is not above 0.

    Example:
        >>> reliability = Reliability(bins=2)
        >>> reliability.update(torch.tensor([0.6, 1.0, 0.2]), torch.tensor([False, True, True]))
        >>> reliability.accuracy
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """

    def __init__(self, bins: int = 15) -> None:
        checks.positive("bins", bins)
        self.bins = bins
        self._confidence = ClassSums(bins)
        self._correct = ClassSums(bins)
        self._all = Moments()  # also of what is in no bin, so that no NaN is hidden

    @property
    def counts(self) -> Tensor:
        """The number of examples in each bin, (bins,)."""
        return self._confidence.counts

    @property
    def confidence(self) -> Tensor:
        """The mean confidence in each bin, (bins,); NaN in an empty one."""
        return self._confidence.mean

    @property
    def accuracy(self) -> Tensor:
        """The share of right answers in each bin, (bins,); NaN in an empty one."""
        return self._correct.mean

    @property
    def nonfinite(self) -> Tensor:
        """The number of examples without a confidence, which are in no bin."""
        return self._all.count - self.counts.sum()

    @property
    def gap(self) -> Tensor:
        """Mean confidence less accuracy, over all examples; above 0 where too sure."""
        confidence, correct = self._all.mean.expand(2)  # a single NaN before the first example
        return confidence - correct

    @property
    def expected_error(self) -> Tensor:
        """The expected calibration error; see `expected_calibration_error`."""
        return self._per_example(self._excess.abs())

    @property
    def overconfidence(self) -> Tensor:
        """The part of the expected error from bins that are too sure: sum n_b / N (conf - acc)+."""
        return self._per_example(self._excess.clamp_min(0))

    @property
    def maximum_error(self) -> Tensor:
        """The largest distance in any bin: max_b |acc_b - conf_b| (Guo et al., 2017)."""
        return self._or_unknown(self._excess.abs().amax())

    def update(self, confidence: Tensor, correct: Tensor) -> None:
        """Take in the confidences (batch,), and whether each answer is right, (batch,)."""
        wanted = f"(batch,), as the confidences are {tuple(confidence.shape)}"
        checks.shape("correct", correct, wanted, correct.shape == confidence.shape)
        checks.shape("confidence", confidence, "(batch,)", confidence.ndim == 1)
        index = self._bin(confidence)
        self._confidence.update(confidence, index)
        self._correct.update(correct, index)
        self._all.update(torch.stack([confidence.double(), correct.double()], 1))

    def merge(self, other: Reliability) -> None:
        """Take in what another one with as many bins has counted."""
        self._confidence.merge(other._confidence)
        self._correct.merge(other._correct)
        self._all.merge(other._all)

    def _bin(self, confidence: Tensor) -> Tensor:
        # In the confidences' own precision, in which 0.2 is the edge 3 / 15.
        kind = {"device": confidence.device, "dtype": confidence.dtype}
        above = confidence.unsqueeze(1) > torch.arange(1, self.bins, **kind) / self.bins
        return above.sum(1).masked_fill(confidence.isnan(), -1)

    @property
    def _excess(self) -> Tensor:
        """Confidence less accuracy in each bin; 0 in an empty one, which has no share either."""
        return (self.confidence - self.accuracy).masked_fill(self.counts == 0, 0)

    def _per_example(self, per_bin: Tensor) -> Tensor:
        return self._or_unknown((self.counts * per_bin).sum() / self.counts.sum())

    def _or_unknown(self, error: Tensor) -> Tensor:
        return error.masked_fill(self.gap.isnan(), torch.nan)
