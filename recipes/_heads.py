"""Unimodal heads that are trained beside the user's model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from imbalance_lens import checks
from imbalance_lens.errors import SettingError


class UnimodalHeads(nn.Module):
    """One head per modality, from its features to logits.

    Args:
        heads: modality -> module that takes the features (batch, ...).

    Example:
        >>> features = {"audio": torch.ones(2, 3), "text": torch.ones(2, 7, 5)}
        >>> heads = UnimodalHeads.linear(features, classes=4)
        >>> {name: tuple(logits.shape) for name, logits in heads(features).items()}
        {'audio': (2, 4), 'text': (2, 4)}
    """

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._order = tuple(heads)
        self.of = nn.ModuleList(heads.values())  # a ModuleDict forbids names such as "keys"

    @classmethod
    def linear(cls, features: Mapping[str, Tensor], classes: int) -> UnimodalHeads:
        """Return linear heads on pooled features, initialized from the global random state."""
        return cls(
            {
                name: nn.Sequential(
                    Pooled(), nn.Linear(pooled(tensor).shape[1], classes, dtype=tensor.dtype)
                )
                for name, tensor in features.items()
            }
        )

    @classmethod
    def given(cls, heads: Mapping[str, nn.Module], modalities: tuple[str, ...]) -> UnimodalHeads:
        """Return the user's own heads.

        Raises:
            SettingError: heads for other modalities than the model's, or no modules.
        """
        checks.mapping("heads", heads)
        checks.same_modalities("heads", heads, modalities)
        for name, head in heads.items():
            if not isinstance(head, nn.Module):
                raise SettingError(
                    f"The head of {name!r} is a {type(head).__name__}, which cannot be trained. "
                    "Give a torch.nn.Module, from features to logits."
                )
        return cls({name: heads[name] for name in modalities})

    def __getitem__(self, modality: str) -> nn.Module:
        """Return the head of a modality."""
        checks.known_modality(modality, self._order)
        return self.of[self._order.index(modality)]

    def items(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield (modality, head)."""
        return zip(self._order, self.of, strict=True)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each modality's own logits (batch, classes)."""
        return {name: _logits(name, head, features[name]) for name, head in self.items()}


def _logits(name: str, head: nn.Module, features: Tensor) -> Tensor:
    try:
        return head(features)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:  # such as sizes that do not fit
        raise SettingError(
            f"The head of {name!r} does not take its features, {features.dtype} of shape "
            f"{tuple(features.shape)}: {error}. Give one from those to logits (batch, classes)."
        ) from error


class Pooled(nn.Module):
    """Pools features to (batch, width), see `pooled`."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the pooled features."""
        return pooled(features)


def pooled(features: Tensor) -> Tensor:
    """Return features as (batch, width).

    (batch, width) stays; (batch, tokens, width) is averaged over the tokens; of
    (batch, channels, *) all places are averaged.

    Example:
        >>> pooled(torch.ones(2, 8, 4, 4)).shape, pooled(torch.ones(2, 7, 5)).shape
        (torch.Size([2, 8]), torch.Size([2, 5]))
    """
    if features.ndim == 2:
        return features
    if features.ndim == 3:
        return features.mean(1)
    return features.flatten(2).mean(2)
