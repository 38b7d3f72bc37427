"""Fusions whose logits are a sum of one part per modality."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ._base import Fusion, by_modality


class ConcatFusion(Fusion):
    """One linear layer on the concatenated features.

    `logits = W [x_1; ...; x_M] + b` (Wei et al., TPAMI 2024, eq. 1), which is
    `sum over m of W_m x_m + b` (eq. 2).

    Args:
        sizes: modality -> length of its feature vector; one modality or more.
        classes: number of logits.

    Raises:
        SettingError: no modality, or a number that is not whole and above 0.

    Example:
        >>> fusion = ConcatFusion({"audio": 3, "visual": 4}, classes=5)
        >>> fusion({"audio": torch.ones(2, 3), "visual": torch.ones(2, 4)}).shape
        torch.Size([2, 5])
    """

    def __init__(self, sizes: Mapping[str, int], classes: int) -> None:
        super().__init__(sizes, classes)
        self.head = nn.Linear(sum(sizes.values()), classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        return self.head(torch.cat(self.checked(features), dim=1))


class SumFusion(Fusion):
    """A linear layer per modality; their logits are added.

    `logits = sum over m of (W_m x_m + b_m)`: the summation of Wei et al. (TPAMI 2024, section
    4.3.1), where, as in their code, every modality has a bias of its own.

    Args:
        sizes: modality -> length of its feature vector; one modality or more.
        classes: number of logits.

    Raises:
        SettingError: no modality, or a number that is not whole and above 0.

    Example:
        >>> fusion = SumFusion({"audio": 3, "visual": 4, "text": 2}, classes=5)
        >>> features = {name: torch.ones(2, size) for name, size in fusion.sizes.items()}
        >>> fusion(features).shape
        torch.Size([2, 5])
    """

    def __init__(self, sizes: Mapping[str, int], classes: int) -> None:
        super().__init__(sizes, classes)
        self.heads = by_modality((m, nn.Linear(size, classes)) for m, size in sizes.items())

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        parts = zip(self.heads.values(), self.checked(features), strict=True)
        return torch.stack([head(vector) for head, vector in parts]).sum(0)
