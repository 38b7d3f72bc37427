"""Replacing a module's method on one instance, and giving it back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def patched(owner: nn.Module, method: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let `owner.method` be `function` inside the block.

    The instance dictionary is used directly: it sees calls that forward hooks miss
    (`encoder.forward(x)`, scripted modules), and an instance attribute that somebody else
    (accelerate, a compiled module) had put there comes back. To whoever asks, the function has
    the signature of what it stands for.
    """
    functools.update_wrapper(function, getattr(owner, method), updated=())
    attributes = owner.__dict__
    had = method in attributes
    before = attributes.get(method)
    attributes[method] = function
    try:
        yield
    finally:
        if had:
            attributes[method] = before
        else:
            attributes.pop(method, None)
