"""Whether code runs inside of activation checkpointing."""

from __future__ import annotations

import inspect


def runs_checkpointed() -> bool:
    """Say whether the caller runs within `torch.utils.checkpoint`, which may run it once more.

    PyTorch has no question of its own for this, so the calls under way are looked through.

    Example:
        >>> import torch
        >>> from torch.utils.checkpoint import checkpoint
        >>> runs_checkpointed(), checkpoint(runs_checkpointed, use_reentrant=False)
        (False, True)
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            return True
        frame = frame.f_back
    return False
