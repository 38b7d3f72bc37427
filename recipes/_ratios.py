"""Discrepancy ratios that stay finite."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from imbalance_lens import formulas

SMALLEST = 1e-12
"""A score below this counts as this, so that a silent modality makes no infinite ratio."""


def finite(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the scores, none of them 0; NaN stays."""
    return {name: score.clamp_min(SMALLEST) for name, score in scores.items()}


def quotient(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how far each modality leads the others; see `formulas.discrepancy_ratio`."""
    return formulas.discrepancy_ratio(finite(scores))
