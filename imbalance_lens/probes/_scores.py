"""How single answers are scored, the same in every probe."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import formulas


def scored(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probability of each true class, and whether each answer is right.

    Logits without a softmax (NaN, infinite) have the probability NaN, and count as wrong.
    """
    confidence = formulas.label_confidence(logits, labels)
    return confidence, formulas.correct(logits, labels) & ~confidence.isnan()


def right_if_known(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 for each right answer and 0 for each wrong one; NaN without labels."""
    if len(labels):
        return scored(logits, labels)[1].float()
    return torch.full((len(logits),), torch.nan, device=logits.device)
