"""What a module answers its caller, after the forward hooks that its owner has placed on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def has_hooks(owner: nn.Module, method: str) -> bool:
    """Say whether anything comes between what a method returns and what its caller gets."""
    scripted = isinstance(owner, torch.jit.ScriptModule)
    return method == "forward" and not scripted and bool(owner._forward_hooks)


@contextmanager
def last_word(owner: nn.Module, speak: Callable[[Any], Any]) -> Iterator[None]:
    """Let `speak(output)` say what a module answers, after all hooks that it has by now.

    Args:
        owner: not scripted.
        speak: gets what those hooks have left; where it gives None, that is the answer.
    """

    def hook(_: nn.Module, __: tuple, output: Any) -> Any:
        return speak(output)

    handle = owner.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
