"""Overfitting: what a stretch of training gained, and at what price."""

from __future__ import annotations

import torch
from torch import Tensor

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


_NO_CHANGE = 1e-8
