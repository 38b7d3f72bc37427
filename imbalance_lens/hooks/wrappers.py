"""Seeing through what PyTorch wraps around a model."""

from __future__ import annotations

import sys

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from .. import checks


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own module inside DDP, DataParallel and torch.compile, nested at will.

    All module paths of the library refer to the unwrapped model.

    Raises:
        SettingError: it is no module.
    """
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        elif is_compiled(model):
            model = model._modules["_orig_mod"]  # pyright: ignore[reportAssignmentType]
        else:
            checks.instance("model", model, nn.Module, "torch.nn.Module")
            return model


def is_compiled(model: nn.Module) -> bool:
    """Say whether a module is the wrapper that `torch.compile(model)` returns."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # not loaded: nothing was compiled
    return dynamo is not None and isinstance(model, dynamo.OptimizedModule)
