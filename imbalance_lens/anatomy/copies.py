"""Copies of a batch's inputs, for the many passes that a replay takes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..trees import map_tensors, tensors


class Copies:
    """Lends copies of inputs to one pass after another; a forward may write into them.

    What a pass has left as it was is lent again: a batch is replayed many times, and to copy large
    inputs each time would cost more than fusion and head do. PyTorch counts the writes into a
    tensor; those past its count (by `x.data` or numpy) are seen by `untouched` only.

    Args:
        inputs: the originals, by name, which no pass gets.
        again: whether anything is lent twice.
    """

    def __init__(self, inputs: Mapping[str, Any], *, again: bool = True) -> None:
        self._inputs = dict(inputs)
        self._again = again
        self._kept: dict[int, tuple[Tensor, int]] = {}

    def lend(self) -> dict[str, Any]:
        """Return the inputs as one pass may use them, in containers of their own."""
        # A copy may belong to a graph, and in inference mode writes are not counted.
        if not self._again or torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            return map_tensors(torch.clone, self._inputs)
        place = itertools.count()
        return map_tensors(lambda tensor: self._lent(next(place), tensor), self._inputs)

    def untouched(self) -> bool | None:
        """Say whether what was lent still equals the originals; None if nothing is lent twice."""
        if not self._kept:
            return None
        originals = tensors(self._inputs)
        return all(torch.equal(originals[place], copy) for place, (copy, _) in self._kept.items())

    def _lent(self, place: int, original: Tensor) -> Tensor:
        if not _is_plain(original):
            return original.clone()
        copy, version = self._kept.get(place, (original, -1))
        if copy._version != version:
            copy = original.clone()
            self._kept[place] = copy, copy._version
        return copy.detach()  # a forward may change the shape of a tensor, too


def _is_plain(tensor: Tensor) -> bool:
    if type(tensor) is not Tensor or tensor.is_inference():
        return False
    return tensor.layout is torch.strided and not tensor.requires_grad
