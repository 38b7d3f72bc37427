"""Fusions in which modalities scale each other: what one says decides how much another counts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .. import checks
from ._base import Fusion, PairFusion, by_modality


class FilmFusion(PairFusion):
    """One modality scales and shifts the features of the other, before one linear layer.

    `logits = W (gamma(x) * y + beta(x)) + b`, with gamma and beta linear in x (FiLM: Perez et al.,
    AAAI 2018, eq. 1 and 2), as the code of Peng et al. (CVPR 2022) fuses two modalities with it.

    Args:
        sizes: modality -> length of its feature vector; two modalities.
        classes: number of logits.
        acting: the modality x that scales and shifts; default: the first.

    Raises:
        SettingError: not two modalities, or a number that is not whole and above 0.
        UnknownNameError: `acting` is none of them.

    Example:
        >>> fusion = FilmFusion({"audio": 3, "visual": 4}, classes=5, acting="visual")
        >>> fusion({"audio": torch.ones(2, 3), "visual": torch.ones(2, 4)}).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, sizes: Mapping[str, int], classes: int, *, acting: str | None = None
    ) -> None:
        super().__init__(sizes, classes, acting)
        width = sizes[self.acted_on]
        self.film = nn.Linear(sizes[self.acting], 2 * width)
        self.head = nn.Linear(width, classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        x, y = self.pair(features)
        gamma, beta = self.film(x).chunk(2, dim=1)
        return self.head(gamma * y + beta)


class GatedFusion(PairFusion):
    """One modality opens and closes the units of the other, before one linear layer.

    `logits = W (sigmoid(U x + u) * (V y + v)) + b`: the gate of Kiela et al. ("Efficient
    large-scale multi-modal classification", AAAI 2018) in the form, biases included, that the code
    of Peng et al. (CVPR 2022) gives it.

    Args:
        sizes: modality -> length of its feature vector; two modalities.
        classes: number of logits.
        acting: the modality x that gates; default: the first.
        width: number of gated units.

    Raises:
        SettingError: not two modalities, or a number that is not whole and above 0.
        UnknownNameError: `acting` is none of them.

    Example:
        >>> fusion = GatedFusion({"audio": 3, "visual": 4}, classes=5, width=8)
        >>> fusion({"audio": torch.ones(2, 3), "visual": torch.ones(2, 4)}).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, sizes: Mapping[str, int], classes: int, *, acting: str | None = None, width: int = 512
    ) -> None:
        super().__init__(sizes, classes, acting)
        checks.whole("width", width)
        self.gate = nn.Linear(sizes[self.acting], width)
        self.value = nn.Linear(sizes[self.acted_on], width)
        self.head = nn.Linear(width, classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        x, y = self.pair(features)
        return self.head(self.gate(x).sigmoid() * self.value(y))


class GatedUnitFusion(Fusion):
    """All modalities together decide how much of each is let through, before one linear layer.

    `logits = W sum over m of z_m * tanh(U_m x_m) + b` with `z_m = sigmoid(V_m [x_1; ...; x_M])`:
    the gated multimodal unit in its form for any number of modalities (Arevalo et al., "Gated
    multimodal units for information fusion", ICLR 2017 workshop).

    Args:
        sizes: modality -> length of its feature vector; one modality or more.
        classes: number of logits.
        width: number of gated units.

    Raises:
        SettingError: no modality, or a number that is not whole and above 0.

    Example:
        >>> fusion = GatedUnitFusion({"audio": 3, "visual": 4, "text": 2}, classes=5, width=8)
        >>> features = {name: torch.ones(2, size) for name, size in fusion.sizes.items()}
        >>> fusion(features).shape
        torch.Size([2, 5])
    """

    def __init__(self, sizes: Mapping[str, int], classes: int, *, width: int = 512) -> None:
        super().__init__(sizes, classes)
        checks.whole("width", width)
        together = sum(sizes.values())
        self.values = by_modality(
            (m, nn.Linear(size, width, bias=False)) for m, size in sizes.items()
        )
        self.gates = by_modality((m, nn.Linear(together, width, bias=False)) for m in sizes)
        self.head = nn.Linear(width, classes)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return logits (batch, classes) from features (batch, size) by modality."""
        together = torch.cat(self.checked(features), dim=1)
        let_through = [
            self.gates[m](together).sigmoid() * self.values[m](features[m]).tanh()
            for m in self.sizes
        ]
        return self.head(torch.stack(let_through).sum(0))
