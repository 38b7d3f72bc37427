"""Listening to optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


def after_step(optimizer: Optimizer, listener: Callable[[Tensor | None], None]) -> RemovableHandle:
    """Tell `listener` of every step that an optimizer makes; the answer's `remove` ends it.

    The listener gets whether the step was left out because a gradient overflowed, as a 0-dim
    bool tensor: fused optimizers under a GradScaler find that out on the device. None: it was
    made. Other optimizers are not called at all for such a step.
    """

    def hook(stepped: Optimizer, *_: Any) -> None:
        found = vars(stepped).get("found_inf")
        listener(None if found is None else found.squeeze() > 0)

    return optimizer.register_step_post_hook(hook)


def unwrap_optimizer(optimizer: Any) -> Optimizer:
    """Return the optimizer that makes the steps, inside what Accelerate or Lightning put around it.

    Example:
        >>> import torch
        >>> plain = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))])
        >>> unwrap_optimizer(plain) is plain
        True
    """
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer
