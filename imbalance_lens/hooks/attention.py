"""Transformer layers that call their parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


def hidden_in_fused_layers(model: nn.Module, paths: Iterable[str]) -> bool:
    """Say whether any of the paths lies inside a layer that may run as one fused kernel."""
    fused = [p for p, m in model.named_modules() if isinstance(m, nn.TransformerEncoderLayer)]
    return any(path.startswith(f"{layer}.") for path in paths for layer in fused)


@contextmanager
def unfused() -> Iterator[None]:
    """Let every transformer layer call its parts inside the block.

    In eval mode PyTorch computes a whole `nn.TransformerEncoderLayer` at once, past the forward
    of its parts, and pads with zeros what the parts would compute; so this is only for those who
    look inside one.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
