"""What a training depends on, in plain values: to tell one from another."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ._base import Recipe

DIGITS = 16
"""Of a hash."""


def described(value: Any) -> Any:
    """Return what a setting is in plain values, the same in every process.

    Example:
        >>> described({"loss": nn.CrossEntropyLoss, "rates": (0.1, 0.01)})
        {'loss': 'torch.nn.modules.loss.CrossEntropyLoss', 'rates': [0.1, 0.01]}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, functools.partial):
        given = {str(place): each for place, each in enumerate(value.args)} | value.keywords
        return {"function": described(value.func), "arguments": described(given)}
    if isinstance(value, Mapping):
        return {str(key): described(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    if isinstance(value, Recipe):
        return {"recipe": value.name, "settings": described(value.settings())}
    if isinstance(value, Tensor):
        return {"tensor": digest([value])}
    if isinstance(value, nn.Module):
        own = {n: each for n, each in vars(value).items() if n[0] != "_" and n != "training"}
        return {"module": _named(type(value)), "settings": described(own)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: described(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, torch.device | torch.dtype):
        return str(value)
    return _named(value if hasattr(value, "__qualname__") else type(value))


def digest(parts: Iterable[Tensor], text: str = "") -> str:
    """Return what tells tensors, and a text, from others."""
    sha = hashlib.sha256(text.encode())
    for part in parts:
        flat = part.detach().cpu().reshape(-1).contiguous()
        sha.update(str((part.dtype, tuple(part.shape))).encode())
        sha.update(flat.view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:DIGITS]


def _named(what: Any) -> str:
    return f"{what.__module__}.{what.__qualname__}"
