"""What encoders that were trained alone say together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from imbalance_lens import checks


def decision_fusion(logits: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of the modalities' own class probabilities: no joint training at all.

    Equation: p = 1/M sum_m softmax(z^m) (Feng et al., 2023, section 4.3).

    Args:
        logits: modality -> (batch, classes), of models that were trained alone.

    Returns:
        Class probabilities (batch, classes).

    Raises:
        SettingError: fewer than two modalities.

    Example:
        >>> decision_fusion({"a": torch.tensor([[2.0, 0, 0]]), "v": torch.tensor([[0, 1.0, 0]])})
        tensor([[0.4995, 0.3413, 0.1592]])
    """
    checks.modalities(logits)
    return torch.stack([own.softmax(1) for own in logits.values()]).mean(0)
