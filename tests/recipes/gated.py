"""Small networks that gate each other, and data for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imbalance_lens.models import MmtmNet

CLASSES = 3
NAMES = ("audio", "visual", "text")


def net(count: int = 2, dtype: torch.dtype = torch.float64) -> MmtmNet:
    """The same model at each call; the first layers' weights differ in size between modalities."""
    torch.manual_seed(0)
    names = NAMES[:count]

    def stages(scale: float) -> list[nn.Module]:
        first = nn.Conv1d(1, 3, 3, padding=1)
        nn.init.normal_(first.weight, std=scale)
        layers = [nn.Conv1d(a, b, 3, padding=1) for a, b in ((3, 4), (4, 5))]
        return [nn.Sequential(part, nn.Tanh()) for part in (first, *layers)]

    scales = {name: 0.3 + place for place, name in enumerate(names)}
    branches = {name: stages(scale) for name, scale in scales.items()}
    model = MmtmNet(branches, {name: [4, 5] for name in names}, CLASSES)
    return model if dtype is torch.float32 else model.to(dtype)


def batches_of(
    count: int = 2, *, dtype: torch.dtype = torch.float64, batches: int = 6, size: int = 8
) -> list[tuple[dict[str, Tensor], Tensor]]:
    """The same batches at each call."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(size) % CLASSES

    def inputs() -> dict[str, Tensor]:
        noise = [torch.randn(size, 1, 7, generator=draw).to(dtype) for _ in NAMES[:count]]
        return {m: x + labels[:, None, None] for m, x in zip(NAMES, noise, strict=False)}

    return [(inputs(), labels) for _ in range(batches)]
