"""Activations: channels that say nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast


def dead_rate(activations: Tensor) -> Tensor:
    """Return in how many of the examples each channel is dead.

    Equation: r_c = mean_n [a_nc is 0 at every position] (Feng et al., 2023, section 3.1,
    footnotes 1 and 2), for the output of a ReLU.

    Args:
        activations: (batch, channels, ...) behind a ReLU. In front of one the answer is the
            same, since an entry that is not above 0 counts as 0. Not for GELU and its like,
            which hardly ever give 0.

    Returns:
        (channels,) between 0 and 1; NaN for a channel with a NaN, and for an empty batch. Of
        several batches take the mean weighted by their sizes.

    Raises:
        SettingError: fewer than two dimensions.

    Example:
        >>> dead_rate(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([1.0000, 0.5000])
    """
    fits = activations.ndim >= 2
    checks.shape("activations", activations, "(batch, channels, ...)", fits)
    positions = tuple(range(2, activations.ndim))
    # One pass: the largest entry of a map tells whether any is above 0.
    peak = upcast(activations.amax(positions) if positions else activations)
    return (peak <= 0).to(peak.dtype).masked_fill(peak.isnan(), torch.nan).mean(0)


def constant_activations(mean: Tensor, std: Tensor, tolerance: float = 1e-6) -> Tensor:
    """Tell which channels hardly vary, compared with their layer.

    Equation: std_c <= tolerance * std of the layer, whose variance is the mean of the
    channels' variances plus the variance of their means.

    Args:
        mean: (channels,) over examples and positions, as `Moments` collects it.
        std: (channels,), the population standard deviation over the same.
        tolerance: above 0; the default is of the order of single precision.

    Returns:
        (channels,) bool; False for a channel whose numbers are NaN, which the layer's leave out.

    Raises:
        SettingError: shapes that differ, or a tolerance not above 0.

    Example:
        >>> constant_activations(torch.tensor([0.2, 0.5]), torch.tensor([0.0, 0.3]))
        tensor([ True, False])
    """
    checks.positive("tolerance", tolerance)
    checks.shape("std", std, f"of the mean's shape, {tuple(mean.shape)}", std.shape == mean.shape)
    mean, std = mean.double(), std.double()
    layer = (std.square() + (mean - mean.nanmean()).square()).nanmean().sqrt()
    return std <= tolerance * layer
