"""The residual networks for CIFAR-10 of He et al. (2016, section 4.2), and images for them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pixels that the published checkpoints were trained on, between 0 and 1."""


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters: stride, and zeros for new channels."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.new_channels = width - width_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        half = self.new_channels // 2
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return functional.relu(y + functional.pad(shortcut, (0, 0, 0, 0, half, half)))


class ResNetCifar(nn.Module):
    """Three stages of equally many blocks, of 16, 32 and 64 channels."""

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks = (depth - 2) // 6
        self.layer1 = self._stage(16, 16, 1, blocks)
        self.layer2 = self._stage(16, 32, 2, blocks)
        self.layer3 = self._stage(32, 64, 2, blocks)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))

    @staticmethod
    def _stage(width_in: int, width: int, stride: int, blocks: int) -> nn.Sequential:
        rest = (Block(width, width, 1) for _ in range(blocks - 1))
        return nn.Sequential(Block(width_in, width, stride), *rest)


class Pair(nn.Module):
    """Two networks for the same images as the two modalities of one: their logits are added."""

    def __init__(self, shallow: nn.Module, deep: nn.Module) -> None:
        super().__init__()
        self.shallow, self.deep = shallow, deep

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        return self.shallow(shallow) + self.deep(deep)


def cifar10_images(archive: Path, *, every: int = 1) -> tuple[Tensor, Tensor]:
    """Return normalized images (n, 3, 32, 32) and labels (n,) of every `every`-th test image."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".jpg"))[::every]
        classes = sorted({Path(name).parent.name for name in names})
        pixels = [np.asarray(Image.open(io.BytesIO(files.read(name)))) for name in names]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    labels = torch.tensor([classes.index(Path(name).parent.name) for name in names])
    return ((images - mean) / std).contiguous(), labels
