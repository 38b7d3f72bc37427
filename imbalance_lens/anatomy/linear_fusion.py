"""The linear layer that takes the modalities' features side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..formulas import split_logits
from ..hooks.taps import listening
from .replay import Replay


@dataclass(frozen=True)
class LinearFusion:
    """Where a linear layer over concatenated features is, and whose columns are whose.

    Attributes:
        path: of the layer.
        order: the modalities, in the order of the concatenation.
        columns: modality -> which columns of the weight are its own.
        is_head: whether the layer's output is the logits.
    """

    path: str
    order: tuple[str, ...]
    columns: Mapping[str, slice]
    is_head: bool

    def layer(self, model: nn.Module) -> nn.Linear:
        """Return the layer."""
        found = model.get_submodule(self.path)
        if not isinstance(found, nn.Linear):
            raise TypeError(f"{self.path!r} is no longer a linear layer")
        return found

    def logits(self, model: nn.Module, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each modality's part of a head's logits, (batch, classes), without a graph."""
        head = self.layer(model)
        bias = None if head.bias is None else head.bias.detach()
        flat = {name: features[name].detach().flatten(1) for name in self.order}
        parts = split_logits(flat, head.weight.detach(), bias)
        return {name: parts[name] for name in features}


def find_linear_fusion(replay: Replay, model: nn.Module) -> LinearFusion | None:
    """Return the linear layer whose input is the concatenation of all features, if there is one.

    Found by value: the layer's input must hold each modality's features, flattened, as a block
    of columns of its own, and nothing else. Costs one pass of fusion and head.
    """
    features = {name: tensor.flatten(1) for name, tensor in replay.features.items()}
    several = {name for name, parts in replay.signals.items() if len(parts) > 1}
    if several:
        return None
    taken: list[tuple[str, Tensor, Tensor]] = []

    def note(path: str, args: tuple, kwargs: Mapping[str, Any], output: Any) -> None:  # noqa: ARG001
        if isinstance(model.get_submodule(path), nn.Linear) and args and args[0].ndim == 2:
            taken.append((path, args[0].detach().clone(), output.detach().clone()))

    with listening(model, note):
        replay.rerun(replay.modalities)
    for path, given, output in taken:
        columns = columns_of(given, features)
        if columns is not None:
            order = tuple(sorted(columns, key=lambda name: columns[name].start))
            is_head = output.shape == replay.logits_all.shape and torch.equal(
                output, replay.logits_all
            )
            return LinearFusion(path, order, columns, is_head)
    return None


def columns_of(given: Tensor, features: Mapping[str, Tensor]) -> dict[str, slice] | None:
    """Return whose columns are whose in an input that is all features side by side, else None.

    Args:
        given: (batch, width).
        features: modality -> (batch, its width).
    """
    found: dict[str, slice] = {}
    start = 0
    while start < given.shape[1]:
        for name, tensor in features.items():
            block = slice(start, start + tensor.shape[1])
            if name not in found and tensor.shape[1] and _equal(given[:, block], tensor):
                found[name] = block
                start = block.stop
                break
        else:
            return None
    return found if len(found) == len(features) else None


def _equal(block: Tensor, features: Tensor) -> bool:
    return block.shape == features.shape and torch.equal(block.to(features.dtype), features)
