"""The named inputs of a call, down to the tensors that can be a modality of their own."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ..batches import Call
from ..trees import map_tensors, put, tensors


def leaves(call: Call) -> dict[str, list[Tensor]]:
    """Return the tensors under each name; an input that is a mapping is taken apart.

    Example:
        >>> import torch
        >>> list(leaves(Call({"data": {"a": torch.ones(2), "b": torch.ones(2)}, "k": 3})))
        ['data.a', 'data.b']
    """
    found: dict[str, list[Tensor]] = {}

    def note(name: str, tensor: Tensor) -> Tensor:
        found.setdefault(name, []).append(tensor)
        return tensor

    mapped(note, call)
    return found


def mapped(function: Callable[[str, Tensor], Tensor], call: Call) -> Call:
    """Return the same call with `function(name, tensor)` in place of every tensor."""
    return call.with_inputs({n: _mapped(function, n, tree) for n, tree in call.inputs.items()})


def batch_size(call: Call) -> int:
    """Return how many examples a call has: the commonest first dimension; 0 if not known."""
    trees = list(call.inputs.values())
    lengths = Counter(len(tensor) for tensor in tensors(trees) if tensor.ndim)
    # The rows of a packed sequence are steps, not examples.
    return 0 if not lengths or _packed(trees) else lengths.most_common(1)[0][0]


def first_rows(call: Call, rows: int) -> Call:
    """Return the call with the first examples only."""
    return _cut(call, slice(rows))


def middle_rows(call: Call, rows: int) -> Call:
    """Return the call with examples from the middle of the batch only."""
    first = (batch_size(call) - rows) // 2
    return _cut(call, slice(first, first + rows))


def _cut(call: Call, rows: slice) -> Call:
    batch = batch_size(call)

    def cut(_: str, tensor: Tensor) -> Tensor:
        return tensor[rows] if tensor.ndim and len(tensor) == batch else tensor

    return mapped(cut, call)


def _mapped(function: Callable[[str, Tensor], Tensor], name: str, tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return map_tensors(partial(function, name), tree)
    filled: Any = copy.copy(tree)
    for key in list(tree):
        put(filled, key, _mapped(function, f"{name}.{key}", tree[key]), copied_from=tree)
    return filled


def _packed(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    return isinstance(tree, PackedSequence) or (
        isinstance(tree, list | tuple) and any(map(_packed, tree))
    )
