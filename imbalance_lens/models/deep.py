"""Fusions with layers of their own between the features and the logits."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from .. import checks
from ._base import Fusion, by_modality
from ._transformer import transformer


class MlpFusion(Fusion):
    """Two or more layers on the concatenated features.

    With one hidden layer, `logits = W_2 relu(W_1 [x_1; ...; x_M] + b_1) + b_2`: the Mid-MLP of
    Kontras et al. (BMVC 2024, section 4.3), and a multi-layer classifier as in Wei et al. (TPAMI
    2024, section 4.3.7).

    Args:
        sizes: modality -> length of its feature vector; one modality or more.
        classes: number of logits.
        width: units of a hidden layer.
        hidden: number of hidden layers.

    Raises:
        SettingError: no modality, or a number that is not whole and above 0.

    Example:
        >>> fusion = MlpFusion({"audio": 3, "visual": 4}, classes=5, width=8)
        >>> fusion({"audio": torch.ones(2, 3), "visual": torch.ones(2, 4)}).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, sizes: Mapping[str, int], classes: int, *, width: int = 512, hidden: int = 1
    ) -> None:
        super().__init__(sizes, classes)
        checks.whole("width", width)
        checks.whole("hidden", hidden)
        widths = [sum(sizes.values()), *[width] * hidden]
        layers = (
            layer
            for before, after in pairwise(widths)
            for layer in (nn.Linear(before, after), nn.ReLU())
        )
        self.head = nn.Sequential(*layers, nn.Linear(width, classes))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        return self.head(torch.cat(self.checked(features), dim=1))


class AttentionFusion(Fusion):
    """One token per modality and a class token attend to each other; the class token answers.

    Every feature vector is projected to a token, its modality's embedding is added, Transformer
    layers follow (Vaswani et al., NeurIPS 2017, section 3.1), and a linear layer reads the logits
    from the class token (Devlin et al., BERT, NAACL 2019, section 3).

    Args:
        sizes: modality -> length of its feature vector; one modality or more.
        classes: number of logits.
        width: length of a token, a multiple of `heads`.
        layers: number of Transformer layers.
        heads: attention heads of a layer.
        dropout: share of values dropped in training, 0 to 1.

    Raises:
        SettingError: no modality, a number that is not whole and above 0, or a width that the
            heads do not divide.

    Example:
        >>> fusion = AttentionFusion({"audio": 3, "visual": 4, "text": 2}, classes=5, width=8)
        >>> features = {name: torch.ones(2, size) for name, size in fusion.sizes.items()}
        >>> fusion(features).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        classes: int,
        *,
        width: int = 64,
        layers: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(sizes, classes)
        self.tokens = by_modality((m, nn.Linear(size, width)) for m, size in sizes.items())
        self.embeddings = nn.Parameter(torch.empty(1 + len(sizes), width))
        nn.init.trunc_normal_(self.embeddings, std=0.02)
        self.attention = transformer(width, layers=layers, heads=heads, dropout=dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        parts = zip(self.tokens.values(), self.checked(features), strict=True)
        tokens = torch.stack([token(vector) for token, vector in parts], dim=1)
        with_class = torch.nn.functional.pad(tokens, (0, 0, 1, 0)) + self.embeddings
        return self.head(self.attention(with_class)[:, 0])
