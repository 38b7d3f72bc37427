"""Transformers that never see each other, and tokens that gather from all of them (OLM-Trans)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .. import checks
from . import _streams as streams
from ._base import by_modality

AGGREGATES = ("sum_ffn", "eq4")


class Irfb(nn.Module):
    """Intermediate Representation Fusion Block: tokens gather from one layer of each modality.

    Per modality m, the tokens b attend to its tokens z_m, and a gate that sees the class tokens
    of all modalities weighs what was found (Zong et al., IJCAI 2024, eq. 2 and 3):
    `a_m = LN(b + MHA(b, z_m, z_m))`, `g_m = sigmoid(W_m [z_1,cls; ...; z_M,cls] + b_m)`,
    `u_m = LN(a_m + g_m * a_m)`. Then `aggregate` makes the new tokens:

    - "sum_ffn", as the authors' code does: `LN(u + FFN(u))` with `u = sum over m of u_m`;
    - "eq4", as in the paper: with all u_m in a row as z_g,
      `b + softmax(v' tanh(z_g W + c)) z_g`, where every token gets the same vector.

    Args:
        modalities: their names.
        width: length of a token, a multiple of `heads`.
        heads: attention heads.
        dropout: share of attention weights dropped in training, 0 to 1.
        aggregate: "sum_ffn" or "eq4".

    Raises:
        SettingError: a value that is not allowed.

    Example:
        >>> block = Irfb(["audio", "visual"], 8, heads=2)
        >>> tokens = {"audio": torch.ones(2, 5, 8), "visual": torch.ones(2, 3, 8)}
        >>> block(torch.ones(2, 4, 8), tokens).shape
        torch.Size([2, 4, 8])
    """

    def __init__(
        self,
        modalities: Sequence[str],
        width: int,
        *,
        heads: int = 4,
        dropout: float = 0.0,
        aggregate: str = "sum_ffn",
    ) -> None:
        super().__init__()
        checks.one_of("aggregate", aggregate, AGGREGATES)
        self.attention = by_modality(
            (m, nn.MultiheadAttention(width, heads, dropout, batch_first=True)) for m in modalities
        )
        self.found = by_modality((m, nn.LayerNorm(width)) for m in modalities)
        self.gates = by_modality((m, nn.Linear(len(modalities) * width, width)) for m in modalities)
        self.gated = by_modality((m, nn.LayerNorm(width)) for m in modalities)
        self.aggregate = SumFeedForward(width) if aggregate == "sum_ffn" else AttentionSum(width)

    def forward(
        self,
        bottleneck: Tensor,
        tokens: Mapping[str, Tensor],
        padding: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the new tokens (batch, tokens, width).

        Args:
            bottleneck: (batch, tokens, width).
            tokens: modality -> (batch, steps, width), its class token first.
            padding: modality -> bool (batch, steps), True where a step is to be left out.
        """
        classes = torch.cat([tokens[m][:, 0] for m in self.gates], dim=1).unsqueeze(1)
        found = []
        for m in self.gates:
            mask = None if padding is None else padding[m]
            heard, _ = self.attention[m](
                bottleneck, tokens[m], tokens[m], key_padding_mask=mask, need_weights=False
            )
            heard = self.found[m](bottleneck + heard)
            found.append(self.gated[m](heard + self.gates[m](classes).sigmoid() * heard))
        return self.aggregate(bottleneck, found)


class SumFeedForward(nn.Module):
    """The sum of what was found, a feed-forward layer and a LayerNorm; see `Irfb`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, bottleneck: Tensor, found: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """Return the new tokens."""
        together = torch.stack([*found]).sum(0)
        return self.norm(together + self.feed_forward(together))


class AttentionSum(nn.Module):
    """A weighted mean of what was found, added to every token; see `Irfb`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, bottleneck: Tensor, found: Sequence[Tensor]) -> Tensor:
        """Return the new tokens."""
        row = torch.cat([*found], dim=1)
        shares = self.score(self.hidden(row).tanh()).softmax(1)
        return bottleneck + (shares * row).sum(1, keepdim=True)


class IrfbTransformer(streams.Gathering):
    """One Transformer per modality, and after each of their layers a fusion block.

    With the recipe `olm` it is OLM-Trans (Zong et al., IJCAI 2024, section 3.1). The modalities'
    Transformers do not see each other: what is fused is gathered by tokens of their own, from the
    output of every layer. The logits are a linear map of these tokens' mean.

    Args:
        sizes: modality -> values per step of its sequence.
        classes: number of logits.
        width: length of a token, a multiple of `heads`.
        layers: Transformer layers per modality, and fusion blocks; 6 in the paper.
        heads: attention heads.
        bottleneck: number of gathering tokens; 12 in the authors' code.
        dropout: share of values dropped in training, 0 to 1.
        aggregate: of the fusion blocks, see `Irfb`.
        detach_streams: keep the joint loss from training the modalities' Transformers.

    Raises:
        SettingError: a value that is not allowed; when called, a missing or misshapen input.

    Example:
        >>> model = IrfbTransformer({"audio": 6, "text": 5}, classes=3, width=8)
        >>> audio, present = torch.randn(2, 7, 6), torch.arange(7) < torch.tensor([[7], [4]])
        >>> model(audio=(audio, present), text=torch.randn(2, 4, 5)).shape
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
        aggregate: str = "sum_ffn",
        detach_streams: bool = False,
    ) -> None:
        super().__init__(sizes, classes, width=width, bottleneck=bottleneck)
        self.detach_streams = detach_streams
        self.streams = by_modality(
            (m, streams.Stream(size, width, layers=layers, heads=heads, dropout=dropout))
            for m, size in sizes.items()
        )
        self.blocks = nn.ModuleList(
            Irfb(list(sizes), width, heads=heads, dropout=dropout, aggregate=aggregate)
            for _ in range(layers)
        )

    def forward(self, **inputs: streams.Sequence) -> Tensor:
        """Return logits (batch, classes).

        Args:
            inputs: modality -> (batch, steps, size), or (these, bool (batch, steps)): which steps
                are no padding.
        """
        given = streams.unpacked(inputs, self.sizes)
        states = {m: stream(*given[m]) for m, stream in self.streams.items()}
        padding = {m: state[-1] for m, state in states.items()}
        gathered = self.start(len(next(iter(padding.values()))))
        for number, block in enumerate(self.blocks, 1):  # at 0 is the mean token
            layer = {m: tokens[number] for m, tokens in states.items()}
            if self.detach_streams:
                layer = {m: tokens.detach() for m, tokens in layer.items()}
            gathered = block(gathered, layer, padding)
        return self.logits(gathered)

    def features(self, **inputs: streams.Sequence) -> dict[str, Tensor]:
        """Return each modality's mean token (batch, width), from its own Transformer alone."""
        given = streams.unpacked(inputs, self.sizes)
        return {m: stream(*given[m])[0] for m, stream in self.streams.items()}
