"""Listening to the calls of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

Listener = Callable[[str, tuple, Mapping[str, Any], Any], None]
"""Gets a module's path, its arguments, its keyword arguments and its output."""


@contextmanager
def listening(model: nn.Module, listener: Listener) -> Iterator[None]:
    """Tell `listener` of every call of every module, in the order in which the calls end.

    A module known under several paths is reported under its first. Scripted modules refuse
    hooks and stay silent. Only hooks that were placed here are removed.
    """
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if not isinstance(module, torch.jit.ScriptModule):
                stack.callback(after_call(module, path, listener).remove)
        yield


def after_call(module: nn.Module, path: str, listener: Listener) -> RemovableHandle:
    """Tell `listener` of every call of one module; the answer's `remove` ends it."""

    def hook(_: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        listener(path, args, kwargs, output)

    return module.register_forward_hook(hook, with_kwargs=True)


@contextmanager
def around_call(
    module: nn.Module,
    before: Callable[[], None],
    after: Callable[[tuple, Mapping[str, Any]], None],
) -> Iterator[None]:
    """Call `before()` and `after(args, kwargs)` around every call of a module.

    `after` is left out where the call raised.
    """

    def pre_hook(*_: Any) -> None:
        before()

    def hook(_: nn.Module, args: tuple, kwargs: dict[str, Any], __: Any) -> None:
        after(args, kwargs)

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(pre_hook).remove)
        stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield
