"""The mixed-precision state that a pass runs under."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch


def ambient_autocast() -> Callable[[], AbstractContextManager[Any]]:
    """Return how to enter the autocast state of here and now again, later and elsewhere."""
    accelerator = torch.accelerator.current_accelerator()
    for device in (accelerator.type if accelerator else "cpu", "cpu"):
        if torch.is_autocast_enabled(device):
            return partial(torch.autocast, device, torch.get_autocast_dtype(device))
    return nullcontext
