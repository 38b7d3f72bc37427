"""Transformers that exchange what they find through a few tokens (MBT)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from . import _streams as streams
from ._base import by_modality
from ._transformer import transformer


class BottleneckTransformer(streams.Gathering):
    """One Transformer per modality; after each layer they share the bottleneck tokens.

    Per layer, `[z_m; b_m] = Transformer_m([z_m; b])` and `b = mean over m of b_m` (MBT: Nagrani et
    al., "Attention bottlenecks for multimodal fusion", NeurIPS 2021, section 3.2.3), in the form
    that Zong et al. (IJCAI 2024) compare with: fusion from the first layer on, and logits from
    the mean of the bottleneck tokens. From the second layer on no modality is on its own.

    Args:
        sizes: modality -> values per step of its sequence.
        classes: number of logits.
        width: length of a token, a multiple of `heads`.
        layers: Transformer layers per modality.
        heads: attention heads.
        bottleneck: number of shared tokens.
        dropout: share of values dropped in training, 0 to 1.

    Raises:
        SettingError: a value that is not allowed; when called, a missing or misshapen input.

    Example:
        >>> model = BottleneckTransformer({"audio": 6, "text": 5}, classes=3, width=8)
        >>> model(audio=torch.randn(2, 7, 6), text=torch.randn(2, 4, 5)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        classes: int,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        bottleneck: int = 12,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(sizes, classes, width=width, bottleneck=bottleneck)
        self.tokens = by_modality((m, streams.Tokens(size, width)) for m, size in sizes.items())
        self.layers = by_modality(
            (m, transformer(width, layers=layers, heads=heads, dropout=dropout).layers)
            for m in sizes
        )

    def forward(self, **inputs: streams.Sequence) -> Tensor:
        """Return logits (batch, classes).

        Args:
            inputs: modality -> (batch, steps, size), or (these, bool (batch, steps)): which steps
                are no padding.
        """
        _, shared = self._states(inputs)
        return self.logits(shared)

    def features(self, **inputs: streams.Sequence) -> dict[str, Tensor]:
        """Return each modality's mean token (batch, width); the others have a part in it."""
        tokens, _ = self._states(inputs)
        given = streams.unpacked(inputs, self.sizes)
        return {
            m: streams.mean_token(tokens[m], streams.with_class(present))
            for m, (_, present) in given.items()
        }

    def _states(self, inputs: Mapping[str, streams.Sequence]) -> tuple[dict[str, Tensor], Tensor]:
        given = streams.unpacked(inputs, self.sizes)
        tokens = {m: part(*given[m]) for m, part in self.tokens.items()}
        count = len(self.bottleneck)
        padding = {
            m: nn.functional.pad(~streams.with_class(present), (0, count), value=False)
            for m, (_, present) in given.items()
        }
        shared = self.start(len(next(iter(padding.values()))))
        for layer in zip(*self.layers.values(), strict=True):
            parts = []
            for m, own in zip(self.sizes, layer, strict=True):
                row = own(torch.cat([tokens[m], shared], 1), src_key_padding_mask=padding[m])
                tokens[m], part = row[:, :-count], row[:, -count:]
                parts.append(part)
            shared = torch.stack(parts).mean(0)
        return tokens, shared
