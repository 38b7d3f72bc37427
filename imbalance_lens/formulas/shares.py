"""Shares: what part of a whole is each modality's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast


def magnitude_shares(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each modality's share of the sum of all magnitudes.

    Equation: |a_m| / sum_j |a_j|. Unlike a_m / sum_j a_j it stays within 0 and 1 where values of
    both signs cancel.

    Args:
        values: one tensor per modality, two modalities or more, all of one shape and unit.
            Entry by entry.

    Returns:
        One tensor of that shape per modality, summing to 1. NaN where all values are 0, or one
        is NaN.

    Raises:
        SettingError: fewer than two modalities.

    Example:
        >>> magnitude_shares({"audio": torch.tensor(3.0), "visual": torch.tensor(-1.0)})
        {'audio': tensor(0.7500), 'visual': tensor(0.2500)}
    """
    checks.modalities(values)
    sizes = {name: upcast(value).abs() for name, value in values.items()}
    whole = torch.stack(list(sizes.values())).sum(0)
    return {name: size / whole for name, size in sizes.items()}
