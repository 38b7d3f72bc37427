"""What a training depends on, in plain values: to tell one from another."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
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
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return {"array": digest([], f"{value.dtype}{value.shape}{value.tobytes().hex()}")}
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
        return _described_module(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: described(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, torch.device | torch.dtype):
        return str(value)
    return _named(value if hasattr(value, "__qualname__") else type(value))


def _described_module(module: nn.Module) -> dict[str, Any]:
    own = {n: each for n, each in vars(module).items() if n[0] != "_" and n != "training"}
    found = {"module": _named(type(module)), "settings": described(own)}
    parts = dict(module.named_children())
    # What is trained is no setting: a training that was interrupted has changed it.
    fixed = [*module.buffers(recurse=False), *_without_gradient(module)]
    return (
        found
        | ({"parts": described(parts)} if parts else {})
        | ({"tensors": digest(fixed)} if fixed else {})
    )


def _without_gradient(module: nn.Module) -> list[Tensor]:
    return [p for p in module.parameters(recurse=False) if not p.requires_grad]


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
