"""Missing modalities: how likely each set of those that are left is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from ._precision import upcast


def presence_probability(present: Collection[str], rates: Mapping[str, Tensor | float]) -> Tensor:
    """Return how likely exactly these modalities are left when each may be missing.

    Equation: P(S) = prod_{m in S} (1 - p_m) prod_{m not in S} p_m, each missing independently of
    the others. The expectation of any score is then sum_S P(S) v(S), without drawing anything.

    Args:
        present: the modalities of S.
        rates: p_m, the probability that a modality is missing, between 0 and 1: numbers, or
            tensors of one shape for several rates at once. All modalities are named.

    Returns:
        Of the rates' shape, dimensionless; over all 2^M sets the probabilities sum to 1.

    Example:
        >>> rates = {"audio": torch.tensor([0.0, 0.5]), "visual": torch.tensor([0.2, 0.5])}
        >>> presence_probability({"audio"}, rates)
        tensor([0.2000, 0.2500])
    """
    missing = {name: upcast(rate) for name, rate in rates.items()}
    factors = [1 - rate if name in present else rate for name, rate in missing.items()]
    return torch.stack(torch.broadcast_tensors(*factors)).prod(0)
