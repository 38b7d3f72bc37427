"""Gradients of recurrent layers in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def differentiable(model: nn.Module) -> Iterator[None]:
    """Run a model so that its gradients can be asked for, if they are enabled here.

    cuDNN has no backward pass for recurrent layers in eval mode; torch's own kernels have one.
    """
    if not (torch.is_grad_enabled() and _recurrent(model)):
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.enabled
    cudnn.enabled = False
    try:
        yield
    finally:
        cudnn.enabled = before


def _recurrent(model: nn.Module) -> bool:
    return any(isinstance(module, nn.RNNBase) for module in model.modules())
