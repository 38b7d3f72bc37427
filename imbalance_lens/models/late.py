"""Late fusion: every modality has its own encoder, and they meet in the last layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class LateFusion(nn.Module):
    """One small convolutional encoder per modality, and a linear head over what they say.

    Args:
        modalities: their names; one will do, which makes a unimodal model of the same kind.
        classes: number of logits.
        width: channels of the first layer; the others have twice as many.

    Example:
        >>> model = LateFusion(["audio", "visual"], classes=10)
        >>> model(audio=torch.ones(2, 1, 32, 32), visual=torch.ones(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, modalities: Iterable[str], classes: int, *, width: int = 16) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: _encoder(width) for name in modalities})
        self.head = nn.Linear(len(self.encoders) * 2 * width * _PLACES**2, classes)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return logits (batch, classes) from one image (batch, 1, height, width) per modality."""
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        return self.head(torch.cat(features, dim=1))


_PLACES = 2
"""Height and width of an encoder's last map, whatever the image: where things are still counts."""


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(
        *_layer(1, width),
        nn.MaxPool2d(2),
        *_layer(width, 2 * width),
        nn.MaxPool2d(2),
        *_layer(2 * width, 2 * width),
        nn.AdaptiveAvgPool2d(_PLACES),
        nn.Flatten(),
    )


def _layer(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()
