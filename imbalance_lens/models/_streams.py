"""Sequences of several modalities: what is padding in them, and Transformers over them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .. import checks
from ._base import all_given
from ._transformer import transformer
from .encoders import positions

Sequence = Tensor | tuple[Tensor, Tensor] | list[Tensor]
"""Steps (batch, steps, size); or these, and a bool tensor (batch, steps): which are no padding."""


class Tokens(nn.Module):
    """Makes tokens of a sequence, a class token first; padding is blanked before anything else.

    Args:
        size: values per step.
        width: length of a token.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        checks.whole("size", size)
        self.project = nn.Linear(size, width)
        self.class_token = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward(self, sequence: Tensor, present: Tensor) -> Tensor:
        """Return tokens (batch, 1 + steps, width)."""
        steps = self.project(sequence.masked_fill(~present.unsqueeze(2), 0))
        steps = steps + positions(*steps.shape[1:]).to(steps)
        return torch.cat([self.class_token.expand(len(steps), 1, -1), steps], dim=1)


class Stream(nn.Module):
    """The Transformer of one modality, which sees no other one.

    Args:
        size: values per step of its sequence.
        width: length of a token.
        layers: number of layers.
        heads: attention heads of a layer.
        dropout: share of values dropped in training.
    """

    def __init__(self, size: int, width: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.tokens = Tokens(size, width)
        self.layers = transformer(width, layers=layers, heads=heads, dropout=dropout).layers

    def forward(self, sequence: Tensor, present: Tensor) -> tuple[Tensor, ...]:
        """Return the mean token (batch, width), every layer's tokens, and what is padding in them.

        Whoever takes the tokens takes the padding from here too, so that the modality has no
        other way into the fusion.
        """
        tokens, padding = self.tokens(sequence, present), ~with_class(present)
        states = []
        for layer in self.layers:
            tokens = layer(tokens, src_key_padding_mask=padding)
            states.append(tokens)
        return mean_token(tokens, ~padding), *states, padding


def with_class(present: Tensor) -> Tensor:
    """Return which tokens are no padding, the class token among them: (batch, 1 + steps).

    Example:
        >>> with_class(torch.tensor([[True, False]]))
        tensor([[ True,  True, False]])
    """
    return nn.functional.pad(present, (1, 0), value=True)


def mean_token(tokens: Tensor, present: Tensor) -> Tensor:
    """Return the mean (batch, width) over the tokens (batch, tokens, width) that are present.

    Example:
        >>> tokens = torch.tensor([[[2.0], [4.0], [90.0]]])
        >>> mean_token(tokens, torch.tensor([[True, True, False]]))
        tensor([[3.]])
    """
    counted = present.unsqueeze(2)
    return tokens.masked_fill(~counted, 0).sum(1) / counted.sum(1)


def unpacked(
    inputs: Mapping[str, Sequence], sizes: Mapping[str, int]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each modality's steps and which of them are no padding.

    Raises:
        SettingError: a modality is missing, or shapes do not fit.
    """
    all_given(inputs, sizes)
    found = {}
    for name, size in sizes.items():
        given = inputs[name]
        steps, present = (given, None) if isinstance(given, Tensor) else given
        checks.shape(
            f"{name!r}",
            steps,
            f"(batch, steps, {size})",
            steps.ndim == 3 and steps.shape[2] == size,
        )
        if present is None:
            present = torch.ones(steps.shape[:2], dtype=torch.bool, device=steps.device)
        fits = present.dtype is torch.bool and present.shape == steps.shape[:2]
        checks.shape(f"The mask of {name!r}", present, f"bool, {tuple(steps.shape[:2])}", fits)
        found[name] = steps, present
    return found


class Gathering(nn.Module):
    """A model whose logits come from the mean of a few tokens that all modalities have a part in.

    Args:
        sizes: modality -> values per step of its sequence.
        classes: number of logits.
        width: length of a token.
        bottleneck: number of shared tokens.

    Attributes:
        bottleneck: (tokens, width), what they start as.
    """

    def __init__(
        self, sizes: Mapping[str, int], classes: int, *, width: int, bottleneck: int
    ) -> None:
        super().__init__()
        checks.modalities(sizes)
        checks.whole("classes", classes)
        checks.whole("width", width)
        checks.whole("bottleneck", bottleneck)
        self.sizes = dict(sizes)
        # They must differ, since all that follows treats them alike: equal ones stay equal.
        self.bottleneck = nn.Parameter(torch.empty(bottleneck, width))
        nn.init.normal_(self.bottleneck, std=0.02)
        self.head = nn.Linear(width, classes)

    def start(self, batch: int) -> Tensor:
        """Return the shared tokens (batch, tokens, width) before they have gathered anything."""
        return self.bottleneck.expand(batch, -1, -1)

    def logits(self, gathered: Tensor) -> Tensor:
        """Return the logits (batch, classes) of the shared tokens (batch, tokens, width)."""
        return self.head(gathered.mean(1))
