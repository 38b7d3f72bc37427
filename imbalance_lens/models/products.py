"""Fusions that multiply the features of the modalities with each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .. import checks
from ._base import Fusion, PairFusion, by_modality


class BilinearFusion(PairFusion):
    """Every product of a feature of one modality and one of the other, weighted.

    `logits_c = x' W_c y + b_c` (Tenenbaum and Freeman, "Separating style and content with bilinear
    models", Neural Computation 2000). It has `size * size * classes` weights.

    Args:
        sizes: modality -> length of its feature vector; two modalities.
        classes: number of logits.

    Raises:
        SettingError: not two modalities, or a number that is not whole and above 0.

    Example:
        >>> fusion = BilinearFusion({"audio": 3, "visual": 4}, classes=5)
        >>> fusion({"audio": torch.ones(2, 3), "visual": torch.ones(2, 4)}).shape
        torch.Size([2, 5])
    """

    def __init__(self, sizes: Mapping[str, int], classes: int) -> None:
        super().__init__(sizes, classes)
        self.head = nn.Bilinear(sizes[self.acting], sizes[self.acted_on], classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        return self.head(*self.pair(features))


class LowRankFusion(Fusion):
    """Every product of features across all modalities, with weights of low rank.

    The outer product of all `[x_m; 1]`, times a weight tensor that is a sum of `rank` outer
    products of vectors, is `logits = sum over r of (product over m of W_mr [x_m; 1]) + b`, which
    needs neither (LMF: Liu et al., "Efficient low-rank multimodal fusion with modality-specific
    factors", ACL 2018, section 3.2).

    Args:
        sizes: modality -> length of its feature vector; one modality or more.
        classes: number of logits.
        rank: number of outer products that make up the weights.

    Raises:
        SettingError: no modality, or a number that is not whole and above 0.

    Example:
        >>> fusion = LowRankFusion({"audio": 3, "visual": 4, "text": 2}, classes=5, rank=4)
        >>> features = {name: torch.ones(2, size) for name, size in fusion.sizes.items()}
        >>> fusion(features).shape
        torch.Size([2, 5])
    """

    def __init__(self, sizes: Mapping[str, int], classes: int, *, rank: int = 4) -> None:
        super().__init__(sizes, classes)
        checks.whole("rank", rank)
        # The bias of a factor is its weight on the 1 that the paper appends to the features.
        self.factors = by_modality(
            (m, nn.Linear(size, rank * classes)) for m, size in sizes.items()
        )
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        parts = zip(self.factors.values(), self.checked(features), strict=True)
        product = torch.stack([factor(vector) for factor, vector in parts]).prod(0)
        return product.unflatten(1, (-1, self.classes)).sum(1) + self.bias
