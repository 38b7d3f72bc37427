"""Which inputs a module reacts to when they are changed, where the flow alone cannot say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..batches import Call
from ..hooks.frozen import frozen
from ..hooks.taps import listening
from ..trees import carries_signal, clone, tensors
from .leaves import leaves, mapped
from .trace import Seen, Trace, places

Place = tuple[str, int, str]
"""A module's path, which call of it, and the part of its output."""


def with_hidden_ways(model: nn.Module, call: Call, trace: Trace) -> Trace:
    """Add what the flow misses: inputs that leave torch (numpy) and come back.

    Only inputs that seem to reach nothing are tried.
    """
    hidden = [name for name in leaves(call) if name not in trace.output.inputs]
    if not hidden:
        return trace
    reacting = reactions(model, call, hidden, _with_parameters(model, trace.calls))

    def more(place: Place, depends: frozenset[str]) -> frozenset[str]:
        return depends | {name for name in hidden if place in reacting.get(name, ())}

    return _revised(trace, more)


def without_false_ways(model: nn.Module, call: Call, trace: Trace) -> Trace:
    """Take away what the flow only seems to carry, since it sees a storage as one whole."""
    mixed = [seen for seen in trace.calls if len(seen.inputs) > 1]
    paths = _with_parameters(model, mixed)
    reacting = reactions(model, call, list(leaves(call)), paths)

    def less(place: Place, depends: frozenset[str]) -> frozenset[str]:
        if place[0] not in paths:
            return depends
        return frozenset(n for n in depends if n not in reacting or place in reacting[n])

    return _revised(trace, less)


def reactions(
    model: nn.Module, call: Call, names: Collection[str], paths: Collection[str]
) -> dict[str, set[Place]]:
    """Return where each input changes what modules answer; one or two frozen passes per input.

    An input is exchanged between the examples, and, if it is floating point, also made NaN: the
    exchange sees what NaN dies in (comparisons, `nan_to_num`), NaN sees what happens to be
    multiplied by zero at present. An input that the model refuses in every changed form is left
    out of the answer.

    Args:
        model: unwrapped.
        call: two or more examples, else integers are reversed along their last dimension.
        names: inputs to change, as `leaves` names them.
        paths: modules to look at.
    """
    reference = _answers(model, call, paths)
    found: dict[str, set[Place]] = {}
    for name in names:
        for change in _changes(call, name):
            try:
                answers = _answers(model, _changed(call, name, change), paths)
            except Exception:  # the model may check its inputs: sorted lengths, finite values
                continue
            changed = {
                place
                for place in reference.keys() & answers.keys()
                if _differ(reference[place], answers[place])
            }
            found.setdefault(name, set()).update(changed)
    return found


def _with_parameters(model: nn.Module, calls: Iterable[Seen]) -> set[str]:
    modules = dict(model.named_modules())
    called = {seen.path for seen in calls}
    return {path for path in called if any(True for _ in modules[path].parameters())}


def _revised(trace: Trace, revise: Callable[[Place, frozenset[str]], frozenset[str]]) -> Trace:
    calls = []
    for seen in trace.calls:
        places_of = {p: (seen.path, seen.index, p) for p in seen.depends}
        depends = {p: revise(places_of[p], names) for p, names in seen.depends.items()}
        calls.append(replace(seen, depends=depends))
    return replace(trace, calls=tuple(calls))


def _changes(call: Call, name: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield the ways to change an input that do change it: equal rows are not exchanged."""
    held = leaves(call)[name]
    for change in (_exchanged, _not_a_number):
        try:
            same = all(torch.equal(_dense(change(tensor)), _dense(tensor)) for tensor in held)
        except RuntimeError:  # sparse and nested tensors know few operators
            continue
        if not same:
            yield change


def _changed(call: Call, name: str, change: Callable[[Tensor], Tensor]) -> Call:
    return mapped(lambda leaf, tensor: change(tensor) if leaf == name else tensor, call)


def _exchanged(tensor: Tensor) -> Tensor:
    if tensor.ndim and len(tensor) > 1:
        rows = torch.arange(len(tensor), device=tensor.device)
        return tensor.index_select(0, rows.roll(1))
    return tensor.flip(-1) if tensor.ndim else tensor


def _not_a_number(tensor: Tensor) -> Tensor:
    return torch.full_like(tensor, float("nan")) if carries_signal(tensor) else tensor


def _answers(model: nn.Module, call: Call, paths: Collection[str]) -> dict[Place, list[Tensor]]:
    answers: dict[Place, list[Tensor]] = {}
    calls = dict.fromkeys(paths, 0)

    def note(path: str, _: tuple, __: Mapping[str, Any], output: Any) -> None:
        if path in calls:
            for place, item in places(output).items():
                answers[path, calls[path], place] = tensors(clone(item))
            calls[path] += 1

    copied = mapped(lambda _, tensor: tensor.detach().clone(), call)
    with frozen(model), listening(model, note):  # frozen also repeats the random numbers
        copied(model)
    return answers


def _differ(before: list[Tensor], after: list[Tensor]) -> bool:
    return len(before) != len(after) or any(
        a.shape != b.shape or not _equal(a, b)
        for a, b in zip(map(_dense, before), map(_dense, after), strict=True)
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    both_nan = (a != a) & (b != b)
    return bool(((a == b) | both_nan).all())


def _dense(tensor: Tensor) -> Tensor:
    if tensor.is_nested:
        return torch.nested.to_padded_tensor(tensor, 0.0)
    return tensor if tensor.layout == torch.strided else tensor.to_dense()
