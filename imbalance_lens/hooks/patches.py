"""Replacing a module's method on one instance, and giving it back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Method = Callable[..., Any]


@contextmanager
def patched(owner: nn.Module, method: str, function: Method) -> Iterator[None]:
    """Let `owner.method` be `function` inside the block, as `Patch` does it."""
    patch = Patch(owner, method, lambda _: function)
    patch.put()
    try:
        yield
    finally:
        patch.take_back()


class Patch:
    """A method that is replaced on one instance, as often as one likes.

    The instance dictionary is used directly: it sees calls that forward hooks miss
    (`encoder.forward(x)`, scripted modules), and an instance attribute that somebody else
    (accelerate, a compiled module) had put there comes back. To whoever asks, the function has
    the signature of what it stands for.

    Args:
        owner: whose method.
        method: its name.
        wrap: gets the method and returns what is to stand for it; asked again only where the
            method has become another one meanwhile.
    """

    def __init__(self, owner: nn.Module, method: str, wrap: Callable[[Method], Method]) -> None:
        self._owner = owner
        self._method = method
        self._wrap = wrap
        self._function: Method | None = None
        self._before: Method | None = None
        self._is_put = False

    def put(self) -> None:
        """Replace the method."""
        attributes = self._owner.__dict__
        before = attributes.get(self._method)
        if self._function is None or before is not self._before:
            method = getattr(self._owner, self._method)
            self._function = functools.update_wrapper(self._wrap(method), method, updated=())
            self._before = before
        self._is_put = True
        attributes[self._method] = self._function

    def take_back(self) -> None:
        """Give the method back, if it is replaced."""
        if not self._is_put:
            return
        self._is_put = False
        if self._before is None:
            self._owner.__dict__.pop(self._method, None)
        else:
            self._owner.__dict__[self._method] = self._before
