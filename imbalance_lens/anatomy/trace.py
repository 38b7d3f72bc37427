"""What flows where in one pass of a model."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ..batches import Call
from ..hooks.frozen import frozen
from ..hooks.taps import listening
from ..trees import carries_signal, tensors
from .leaves import leaves, mapped

_COPIES = {"clone", "_to_copy"}
"""Operators whose output says the same as their input."""

_NOBODY: frozenset[str] = frozenset()


class Flow(TorchDispatchMode):
    """The graph of values of one pass, seen below autograd: any dtype, also without gradients.

    A value is a number; values are numbered in the order in which they were made, so those that
    one was made from come before it. Tensors that share a storage share a value: views cost
    nothing, and a write through any of them makes a new value for all. Storages whose value does
    not come from the inputs (parameters, constants, what only has the shape of an input) have none.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in a pass that is watched; True would load the compiler

    def __init__(self) -> None:
        super().__init__()
        self.made_from: list[tuple[int, ...]] = []
        self.same_as: dict[int, int] = {}
        self._now: dict[int, int] = {}
        self._held: list[Any] = []

    def add(self, tensor: Tensor, made_from: Iterable[int] = ()) -> int:
        """Give a tensor's storage a new value and return it."""
        key, holder = _memory(tensor)
        # Kept alive, so that nothing made later gets the key that the value is known by.
        self._held.append(holder)
        self.made_from.append(tuple(made_from))
        self._now[key] = value = len(self.made_from) - 1
        return value

    def value(self, tensor: Tensor) -> int | None:
        """Return a tensor's present value."""
        return self._now.get(_memory(tensor)[0])

    def stamp(self, tensor: Tensor) -> int | None:
        """Give what a module answers a value of its own, so that the flow can be cut there."""
        before = self.value(tensor)
        if before is None:
            return None
        value = self.add(tensor, (before,))
        self.same_as[value] = before
        return value

    def forget_tensors(self) -> None:
        """Let go of the memory of the pass; the graph stays."""
        self._now.clear()
        self._held.clear()

    def tags(self, sources: Mapping[int, str]) -> list[frozenset[str]]:
        """Return, for each value, which sources reach it; a source hides what it is made from."""
        found: list[frozenset[str]] = []
        for value, parents in enumerate(self.made_from):
            if value in sources:
                found.append(frozenset([sources[value]]))
            else:
                found.append(_NOBODY.union(*(found[parent] for parent in parents)))
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator and note what its results are made from."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        given = _tensors((args, kwargs))
        name = func.overloadpacket.__name__ if isinstance(func, OpOverload) else func.name()
        known = [self.value(tensor) for tensor in given]
        sources = {value for value in known if value is not None}
        if name.endswith("_like") or name.startswith("new_"):  # only the shape is used
            sources = set()
        if sources:
            for tensor in _written(func, args, kwargs):
                self.add(tensor, sources)
            memory = {_memory(tensor)[0] for tensor in given}
            for tensor in _tensors(output):
                if _memory(tensor)[0] not in memory:
                    value = self.add(tensor, sources)
                    if name in _COPIES:
                        self.same_as[value] = next(iter(sources))
        return output


@dataclass(frozen=True)
class Seen:
    """One call of a module.

    Attributes:
        path: of the module; "" is the model itself.
        index: which call of this module it was, from 0.
        values: place in the output ("" for an output that is one thing) -> its values.
        depends: place in the output -> names of the inputs that it depends on.
        signals: the places that hold features, not only masks, lengths or ids.
    """

    path: str
    index: int
    values: Mapping[str, tuple[int, ...]]
    depends: Mapping[str, frozenset[str]]
    signals: frozenset[str]

    @property
    def inputs(self) -> frozenset[str]:
        """The inputs that anything in the output depends on."""
        return _NOBODY.union(*self.depends.values())

    @property
    def apart(self) -> list[frozenset[str]]:
        """What each part of the features depends on, where there are several parts."""
        parts = [names for place, names in self.depends.items() if place in self.signals and names]
        return parts if len(parts) > 1 else []

    @property
    def stamps(self) -> set[int]:
        """All values of the output."""
        return {value for values in self.values.values() for value in values}


@dataclass(frozen=True)
class Trace:
    """One pass: its calls, in the order in which they ended; the last one is the model's.

    Attributes:
        calls: of all modules that take hooks.
        flow: the graph of values.
        sources: value -> name of the input that it is.
    """

    calls: tuple[Seen, ...]
    flow: Flow
    sources: Mapping[int, str]

    @property
    def output(self) -> Seen:
        """The call of the model itself."""
        return self.calls[-1]


def trace(model: nn.Module, call: Call) -> Trace:
    """Run the model once, frozen, and note what flows where.

    Args:
        model: unwrapped.
        call: its inputs; they are copied, so that a model may write on them.
    """
    flow = Flow()
    copied = mapped(lambda _, tensor: tensor.detach().clone(), call)
    sources = {flow.add(tensor): name for name, held in leaves(copied).items() for tensor in held}
    calls: list[Seen] = []
    made: Counter[str] = Counter()

    def note(path: str, _: tuple, __: Mapping[str, Any], output: Any) -> None:
        held = {place: tensors(item) for place, item in places(output).items()}
        stamps = {place: [flow.stamp(tensor) for tensor in of] for place, of in held.items()}
        values = {p: tuple(v for v in of if v is not None) for p, of in stamps.items()}
        signals = frozenset(place for place, of in held.items() if any(map(carries_signal, of)))
        calls.append(Seen(path, made[path], values, {}, signals))
        made[path] += 1

    try:
        with frozen(model), listening(model, note), flow:
            copied(model)
    finally:
        flow.forget_tensors()
    tags = flow.tags(sources)

    def depends(seen: Seen) -> dict[str, frozenset[str]]:
        return {p: _NOBODY.union(*(tags[v] for v in of)) for p, of in seen.values.items()}

    return Trace(tuple(replace(seen, depends=depends(seen)) for seen in calls), flow, sources)


def places(output: Any) -> dict[str, Any]:
    """Return the parts of an output as a site may name them; "" if it is one thing."""
    if isinstance(output, PackedSequence):
        return {"": output}
    if isinstance(output, Mapping):
        return {str(key): item for key, item in output.items()}
    if isinstance(output, tuple | list):
        return {str(index): item for index, item in enumerate(output)}
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return {"": output}


def _memory(tensor: Tensor) -> tuple[int, Any]:
    """Return what identifies a tensor's memory, and what keeps it alive."""
    try:
        storage = tensor.untyped_storage()
    except NotImplementedError:  # sparse tensors have no storage of their own
        return id(tensor), tensor
    return storage._cdata, storage


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in _pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _written(func: Any, args: tuple, kwargs: Mapping[str, Any]) -> list[Tensor]:
    if not isinstance(func, OpOverload) or not func._schema.is_mutable:
        return []
    written = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[index] if index < len(args) else kwargs.get(argument.name)
            written += _tensors(given)
    return written
