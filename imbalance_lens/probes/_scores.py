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


def flipped(logits: Tensor, other: Tensor) -> Tensor:
    """Return 1 where the most likely class changes, else 0; NaN where there is none."""
    changed = (logits.argmax(1) != other.argmax(1)).float()
    unknown = formulas.top_confidence(logits).isnan() | formulas.top_confidence(other).isnan()
    return changed.masked_fill(unknown, torch.nan)


def deviation(logits: formulas.Moments) -> Tensor:
    """Return the root mean square distance of the logits from their mean."""
    deviation, size = torch.linalg.vector_norm(torch.stack([logits.std, logits.mean]), dim=1)
    # Equal logits of single precision may differ in their last bit from batch to batch.
    return deviation.masked_fill(deviation <= torch.finfo(torch.float32).eps * size, 0)
