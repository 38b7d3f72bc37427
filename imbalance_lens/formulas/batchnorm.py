"""BatchNorm: what a layer's parameters alone say about its channels."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks

CRITERIA = ("pair", "gamma", "relative")
"""What `abnormal_channels` can compare with the threshold."""


def abnormal_channels(
    weight: Tensor, bias: Tensor, threshold: float = 1e-10, criterion: str = "pair"
) -> Tensor:
    """Tell which channels of a BatchNorm layer have abnormally small parameters.

    Equation, with g = weight, b = bias and t = threshold: "pair" |g| < t and |b| < t (Feng et
    al., 2023, section 3.1); "gamma" |g| < t; "relative" |g| < t median |g|, which does not
    depend on the layer's scale.

    Args:
        weight: (channels,), the scale of the layer.
        bias: (channels,), its shift.
        threshold: above 0; the default is the one of the paper's Fig. 2a.
        criterion: one of `CRITERIA`.

    Returns:
        (channels,) bool on the CPU, compared in double precision so that a threshold of 1e-40
        holds. A weight of 0 (with "pair": and a bias of 0) is always abnormal, and so is a
        channel with a NaN, whatever the criterion.

    Raises:
        SettingError: shapes that differ, a threshold not above 0, an unknown criterion.

    Example:
        >>> abnormal_channels(torch.tensor([1.0, 1e-12]), torch.tensor([0.0, 1e-13]))
        tensor([False,  True])
    """
    checks.one_of("criterion", criterion, CRITERIA)
    checks.positive("threshold", threshold)
    weight, bias = _exact(weight, bias)
    broken = weight.isnan() | bias.isnan()
    if criterion == "relative":
        bound = threshold * weight.abs().nanquantile(0.5)
        return (weight.abs() < bound) | (weight == 0) | broken
    small = weight.abs() < threshold
    if criterion == "pair":
        small &= bias.abs() < threshold
    return small | broken


def dead_probability(weight: Tensor, bias: Tensor) -> Tensor:
    """Return how likely a ReLU behind the layer gives zero, judged without data.

    Equation: P(g x + b <= 0) = Phi(-b / |g|) for a standard normal x, which is what the
    normalization aims at; g = 0 leaves the constant b, so 1 for b <= 0 and 0 otherwise.

    Args:
        weight: (channels,), the scale g of the layer.
        bias: (channels,), its shift b.

    Returns:
        (channels,) between 0 and 1, in double precision on the CPU: of a single entry, not of a
        whole feature map, and only where the ReLU follows directly. 0.5 for a fresh layer.

    Raises:
        SettingError: shapes that differ.

    Example:
        >>> dead_probability(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, -1.0, 1.0]))
        tensor([0.5000, 1.0000, 0.0000], dtype=torch.float64)
    """
    weight, bias = _exact(weight, bias)
    constant = (bias <= 0).to(weight.dtype).masked_fill(bias.isnan(), torch.nan)
    return torch.where(weight == 0, constant, torch.special.ndtr(-bias / weight.abs()))


def constant_channels(weight: Tensor, bias: Tensor, threshold: float) -> Tensor:
    """Tell which channels give the same positive number whatever the input.

    Equation: |g| < t and b > t with g = weight, b = bias, t = threshold. Such a channel is not
    dead, a ReLU lets it through, but it carries no information either.

    Args:
        weight: (channels,), the scale of the layer.
        bias: (channels,), its shift.
        threshold: above 0.

    Returns:
        (channels,) bool on the CPU; False where a parameter is NaN.

    Raises:
        SettingError: shapes that differ, or a threshold not above 0.

    Example:
        >>> constant_channels(torch.tensor([0.0, 0.0]), torch.tensor([0.2, -0.2]), 1e-2)
        tensor([ True, False])
    """
    checks.positive("threshold", threshold)
    weight, bias = _exact(weight, bias)
    return (weight.abs() < threshold) & (bias > threshold)


def _exact(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    checks.shape("weight", weight, "(channels,)", weight.ndim == 1)
    checks.shape(
        "bias", bias, f"of the weight's shape, {tuple(weight.shape)}", bias.shape == weight.shape
    )
    # First to the CPU: some devices have no double precision, and some flush tiny numbers to 0.
    return weight.cpu().double(), bias.cpu().double()
