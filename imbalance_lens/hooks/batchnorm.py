"""Telling BatchNorm layers from others."""

from __future__ import annotations

from torch import nn


def is_batchnorm(module: nn.Module) -> bool:
    """Say whether a module is a BatchNorm layer, by its kind or by what it holds.

    Frozen and home-made layers are recognized by their running statistics.
    """
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return True
    own = {**module._parameters, **module._buffers}
    return own.get("running_mean") is not None and own.get("running_var") is not None
