"""Tensors inside whatever a model takes or returns.

A structure is a tensor, a named tuple, a tuple, a list, a mapping (subclasses keep their type), a
dataclass, a packed sequence, a registered pytree, or an object with tensors among its attributes.
`torch.utils._pytree` alone treats several of these as leaves and would skip their tensors silently.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree

from .checks import WITH_SPLIT
from .errors import BatchError

_ATOMS = (str, bytes, int, float, complex, type(None), torch.Size, torch.dtype, torch.device, type)


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Return the same structure with `function` applied to every tensor.

    Raises:
        BatchError: the structure contains itself, or is nested too deeply.

    Example:
        >>> map_tensors(lambda t: t + 1, {"a": torch.tensor(1), "b": (torch.tensor(2), "text")})
        {'a': tensor(2), 'b': (tensor(3), 'text')}
    """
    try:
        return _mapped(function, tree)
    except RecursionError:
        raise BatchError(
            f"Something in a {type(tree).__name__} contains itself, or is nested too deeply, so "
            f"its tensors cannot be exchanged. Give only what the model reads: {WITH_SPLIT}."
        ) from None


def _mapped(function: Callable[[Tensor], Any], tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, _ATOMS):
        return tree
    if isinstance(tree, PackedSequence):
        return PackedSequence(
            function(tree.data), tree.batch_sizes, tree.sorted_indices, tree.unsorted_indices
        )
    if isinstance(tree, tuple):
        return _rebuilt_tuple(tree, [_mapped(function, item) for item in tree])
    if type(tree) is list:
        return [_mapped(function, item) for item in tree]
    if isinstance(tree, Mapping | list):
        return _refilled(function, tree)
    if dataclasses.is_dataclass(tree):
        names = [field.name for field in dataclasses.fields(tree)]
        return _with_attributes(function, tree, {name: getattr(tree, name) for name in names})
    if not _pytree.tree_is_leaf(tree):
        return _pytree.tree_map(lambda leaf: _mapped(function, leaf), tree)
    if hasattr(tree, "__dict__") and not isinstance(tree, torch.nn.Module | Callable):
        return _with_attributes(function, tree, vars(tree))
    return tree


def tensors(tree: Any) -> list[Tensor]:
    """Return the tensors of a structure, in order.

    Example:
        >>> tensors({"a": torch.tensor(1), "b": [torch.tensor(2), None]})
        [tensor(1), tensor(2)]
    """
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(note, tree)
    return found


def zip_tensors(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Return the structure of `first` with `function` applied to the tensors at equal places."""
    rows = iter(zip(*(tensors(tree) for tree in (first, *others)), strict=True))
    return map_tensors(lambda _: function(*next(rows)), first)


def clone(tree: Any) -> Any:
    """Return a copy whose tensors share no memory with the original's and carry no graph."""
    return map_tensors(lambda tensor: tensor.detach().clone(), tree)


def carries_signal(tensor: Tensor) -> bool:
    """Say whether a tensor holds features; integers and booleans are masks, lengths or ids."""
    return tensor.is_floating_point() or tensor.is_complex()


def _rebuilt_tuple(old: tuple, items: list) -> tuple:
    if hasattr(old, "_fields"):
        return type(old)(*items)
    return tuple(items) if type(old) is tuple else tuple.__new__(type(old), items)


def _refilled(function: Callable[[Tensor], Any], old: Any) -> Any:
    new = copy.copy(old)
    for key in list(old) if isinstance(old, Mapping) else range(len(old)):
        put(new, key, _mapped(function, old[key]), copied_from=old)
    return new


def put(new: Any, key: Any, value: Any, *, copied_from: Any) -> None:
    """Set an entry of a copied container, and see that the original keeps its own.

    Raises:
        BatchError: the copy shares its entries with the original.
    """
    before = copied_from[key]
    new[key] = value
    if value is not before and copied_from[key] is value:
        copied_from[key] = before
        raise BatchError(
            f"A {type(new).__name__} shares its entries with its copies, so none can be changed "
            "safely. Give a dict, or let its __copy__ copy the entries too."
        )


def _with_attributes(function: Callable, old: Any, values: Mapping[str, Any]) -> Any:
    changed = {name: _mapped(function, value) for name, value in values.items()}
    if all(changed[name] is values[name] for name in values):
        return old
    new = copy.copy(old)
    for name, value in changed.items():
        object.__setattr__(new, name, value)
    return new
