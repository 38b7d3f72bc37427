"""One pass of a model: what its sites answered, and how they answer that again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..hooks.answers import has_hooks, last_word
from ..hooks.patches import patched
from ..trees import carries_signal, clone, map_tensors


class Target(NamedTuple):
    """A method of one module: what is patched."""

    path: str
    owner: nn.Module
    method: str


class Recorded(NamedTuple):
    """One call of a target: what its caller got, and how to ask again."""

    function: Callable[..., Any]
    args: tuple
    kwargs: dict[str, Any]
    output: Any


class Recording(NamedTuple):
    """What every target answered in one pass, and the autocast state that the pass ran under."""

    calls: Mapping[Target, list[Recorded]]
    autocast: Callable[[], AbstractContextManager[Any]]


@contextmanager
def recorded(target: Target, calls: list[Recorded], *, graph: bool = False) -> Iterator[None]:
    """Add every call of a target to `calls`; copies, safe from in-place edits.

    Args:
        target: the method.
        calls: the record.
        graph: keep the copies in the graph of the pass.
    """
    _, owner, method = target
    original = getattr(owner, method)
    hooked = has_hooks(owner, method)
    ask = _through_hooks(target, original) if hooked else original

    def kept(output: Any) -> Any:
        return map_tensors(torch.clone, output) if graph else clone(output)

    def record(*args: Any, **kwargs: Any) -> Any:
        held = tuple(map(_held, args)), {name: _held(value) for name, value in kwargs.items()}
        output = original(*args, **kwargs)
        calls.append(Recorded(ask, *held, output=kept(output)))
        return output

    def correct(output: Any) -> None:
        calls[-1] = calls[-1]._replace(output=kept(output))

    with patched(owner, method, record):
        if not hooked:
            yield
            return
        with last_word(owner, correct):
            yield


@contextmanager
def answered(target: Target, answer: Callable[[], Any]) -> Iterator[None]:
    """Let a target answer `answer()` instead of running.

    Hooks on it still run and see that answer, as one of them may hand it on by another way; what
    they make of it does not count, for the answer stands for what they gave.
    """
    _, owner, method = target
    if not has_hooks(owner, method):
        with patched(owner, method, lambda *_, **__: answer()):
            yield
        return
    given: list[Any] = []

    def stub(*_: Any, **__: Any) -> Any:
        given.clear()
        given.append(answer())
        return map_tensors(torch.clone, given[0])

    def insist(_: Any) -> Any:
        return given.pop() if given else None

    with patched(owner, method, stub), last_word(owner, insist):
        yield


def _held(argument: Any) -> Any:
    """Return a copy of a mask or of lengths, which are asked with again; features are 0 then."""
    is_told = isinstance(argument, Tensor) and not carries_signal(argument)
    return argument.clone() if is_told else argument


def _through_hooks(target: Target, original: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*args: Any, **kwargs: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            return original(*args, **kwargs)

        with patched(target.owner, target.method, run):
            return target.owner(*args, **kwargs)

    return ask
