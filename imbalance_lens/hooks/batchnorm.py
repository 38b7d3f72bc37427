"""Telling BatchNorm layers from others."""

from __future__ import annotations

from torch import nn


def is_batchnorm(module: nn.Module) -> bool:
    """Say whether a module is a BatchNorm layer, by its kind or by what it holds.

    Frozen and home-made layers are recognized by their running statistics.
    """
    held = {name for name, buffer in module._buffers.items() if buffer is not None}
    held |= {name for name, parameter in module._parameters.items() if parameter is not None}
    kind = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return kind or {"running_mean", "running_var"} <= held
