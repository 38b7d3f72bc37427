"""The model and the data that diagnoses are timed with: ResNet-18 encoders, images of 96 x 96."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.side_by_side import device
from imbalance_lens import Anatomy

CLASSES, SIDE = 10, 96
Batch = tuple[Tensor, ...]


class LateFusion(nn.Module):
    """One ResNet-18 per view, concatenation, one linear head."""

    def __init__(self, views: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(resnet18(num_classes=64) for _ in range(views))
        self.head = nn.Linear(64 * views, CLASSES)

    def forward(self, *views: Tensor) -> Tensor:
        return self.head(torch.cat([net(x) for net, x in zip(self.nets, views, strict=True)], 1))


def model_of(views: int) -> LateFusion:
    torch.manual_seed(0)
    return LateFusion(views).to(device()).eval()


def data_of(views: int, batch: int, batches: int) -> list[Batch]:
    """Return batches of one image per view and the labels."""
    torch.manual_seed(0)
    return [
        (
            *(torch.randn(batch, 3, SIDE, SIDE, device=device()) for _ in range(views)),
            torch.randint(0, CLASSES, (batch,)),
        )
        for _ in range(batches)
    ]


def anatomy_of(views: int) -> Anatomy:
    return Anatomy({f"views_{i}": f"nets.{i}" for i in range(views)}, head="head")


def evaluation(model: LateFusion) -> Callable[[Batch], object]:
    """Return what runs a model on a batch: a copy, as the model itself may be under observation."""
    same = copy.deepcopy(model)

    def evaluate(batch: Batch) -> object:
        with torch.no_grad():
            return same(*batch[:-1])

    return evaluate
