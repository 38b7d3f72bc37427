"""Discrepancy: how far one modality leads the others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast


def discrepancy_ratio(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how far each modality leads the others.

    Equation: rho^m = 1/(M-1) sum_{j != m} S^m / S^j (Wei et al., TPAMI 2024, eq. 7): the mean
    of the ratios, which for three modalities or more is not the ratio of the means.

    Args:
        scores: one positive scalar per modality, two modalities or more. Unit: examples
            (summed true-class probabilities), the same for all. Tensors of one shape are
            taken entry by entry.

    Returns:
        One dimensionless scalar per modality; above 1 means it leads. Infinite where another
        modality's score is 0, NaN where both are 0 or any score is NaN.

    Raises:
        SettingError: fewer than two modalities.

    Example:
        >>> discrepancy_ratio({"audio": torch.tensor(3.0), "visual": torch.tensor(1.5)})
        {'audio': tensor(2.), 'visual': tensor(0.5000)}
    """
    checks.modalities(scores)
    raised = {name: upcast(score) for name, score in scores.items()}
    return {
        name: torch.stack([score / raised[other] for other in raised if other != name]).mean(0)
        for name, score in raised.items()
    }
