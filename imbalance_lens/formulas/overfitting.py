"""Overfitting: what a stretch of training gained, and at what price."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast


def overfitting_to_generalization(
    train_before: Tensor | float,
    val_before: Tensor | float,
    train_after: Tensor | float,
    val_after: Tensor | float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how much overfitting was paid for how much generalization between two checkpoints.

    Equation: dO = (V' - T') - (V - T), dG = V - V', OGR = |dO / dG| with the losses T, V before
    and T', V' after (Wang et al., CVPR 2020, eq. 3; the sign of dO from its appendix B).

    Args:
        train_before: mean loss over a fixed part of the training set at the first checkpoint,
            in nat; not the running average of an epoch. Scalars, or tensors of one shape.
        val_before: mean loss over the fixed held-out set at the first checkpoint.
        train_after: as `train_before`, at the second checkpoint.
        val_after: as `val_before`, at the second checkpoint.

    Returns:
        (delta_overfit, delta_general, ratio): the first two in nat, signed; the third
        dimensionless, lower is better. Read it together with `delta_general`: a model that
        hardly learned scores well, and one that got worse (below 0) still has a positive
        ratio. The ratio is NaN where |delta_general| < 1e-8.

    Example:
        >>> overfit, general, ratio = overfitting_to_generalization(6.0, 6.0, 1.5, 2.0)
        >>> print(f"{overfit:.1f} {general:.1f} {ratio:.3f}")
        0.5 4.0 0.125
    """
    before = upcast(val_before) - upcast(train_before)
    after = upcast(val_after) - upcast(train_after)
    overfit = after - before
    general = upcast(val_before) - upcast(val_after)
    ratio = (overfit / general).abs().masked_fill(general.abs() < _NO_CHANGE, torch.nan)
    return overfit, general, ratio


def gradient_overfitting(train: Tensor, val: Tensor, direction: Tensor) -> Tensor:
    """Return the overfitting-to-generalization ratio of one step from gradients at one point.

    Equation: OGR = |<g_T - g_V, v> / <g_V, v>| with the gradients g_T, g_V of the training and
    the held-out loss and the direction v of the step (Wang et al., CVPR 2020, eq. 4, its root).

    Args:
        train: gradient of the mean loss over the training examples, any shape.
        val: gradient of the mean loss over the held-out examples, of the same shape.
        direction: of the step; its length does not matter.

    Returns:
        Dimensionless scalar, lower is better; NaN where the step does not change the held-out
        loss to first order, |<g_V, v>| < 1e-8 |g_V| |v|.

    Raises:
        SettingError: shapes that differ.

    Example:
        >>> train, val = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 2.0])
        >>> gradient_overfitting(train, val, torch.tensor([1.0, 0.0]))
        tensor(0.5000, dtype=torch.float64)
    """
    for name, gradient in (("val", val), ("direction", direction)):
        wanted = f"of the shape of train, {tuple(train.shape)}"
        checks.shape(name, gradient, wanted, gradient.shape == train.shape)
    on_train, on_val, step = (x.detach().double().flatten() for x in (train, val, direction))
    general = on_val @ step
    smallest = _NO_CHANGE * torch.linalg.vector_norm(on_val) * torch.linalg.vector_norm(step)
    ratio = ((on_train - on_val) @ step / general).abs()
    return ratio.masked_fill(general.abs() <= smallest, torch.nan)


_NO_CHANGE = 1e-8
