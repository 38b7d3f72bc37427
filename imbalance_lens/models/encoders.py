"""Encoders: from the input of one modality to a feature vector (batch, out_features)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from .. import checks
from ._transformer import transformer


class SmallCnn(nn.Sequential):
    """Three convolutions, for spectrograms and small images of any height and width from 4 on.

    Args:
        channels: channels of the input, 1 for a spectrogram.
        width: channels of the first layer; the others have twice as many.

    Raises:
        SettingError: a number that is not whole and above 0.

    Example:
        >>> SmallCnn(width=4)(torch.ones(2, 1, 40, 64)).shape
        torch.Size([2, 32])
    """

    def __init__(self, channels: int = 1, *, width: int = 16) -> None:
        checks.whole("channels", channels)
        checks.whole("width", width)
        super().__init__(
            *_layer(channels, width),
            nn.MaxPool2d(2),
            *_layer(width, 2 * width),
            nn.MaxPool2d(2),
            *_layer(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(_PLACES),
            nn.Flatten(),
        )
        self.out_features = 2 * width * _PLACES**2


_PLACES = 2
"""Height and width of the last map, whatever the input: where things are still counts."""


def _layer(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()


class ResNet18(nn.Module):
    """torchvision's ResNet-18 up to the pooled features, for images, spectrograms and frames.

    He et al., "Deep residual learning for image recognition" (CVPR 2016), from scratch. Several
    frames pass one by one, and the mean over frames and places is the feature vector, as in the
    code of Peng et al. (CVPR 2022). In training, BatchNorm counts every frame as an example.

    Args:
        channels: channels of the input, 1 for a spectrogram.

    Raises:
        SettingError: a number that is not whole and above 0; when called, an input that is
            neither (batch, channels, height, width) nor (batch, channels, frames, height, width).

    Example:
        >>> encoder = ResNet18()
        >>> encoder(torch.ones(2, 3, 4, 32, 32)).shape
        torch.Size([2, 512])
    """

    out_features = 512

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        checks.whole("channels", channels)
        from torchvision.models import resnet18  # here, for it takes a second to import

        self.net = resnet18()
        self.net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        if channels != self.net.conv1.in_channels:
            self.net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return features (batch, 512)."""
        wanted = "(batch, channels, height, width) or (batch, channels, frames, height, width)"
        checks.shape("images", images, wanted, images.ndim in (4, 5))
        if images.ndim == 4:
            return self.net(images)
        frames = images.transpose(1, 2)
        batch, count = frames.shape[:2]
        return self.net(frames.flatten(0, 1)).unflatten(0, (batch, count)).mean(1)


class Mlp(nn.Sequential):
    """Fully connected layers with ReLU between and after them, on the flattened input.

    Args:
        in_features: length of the flattened input of one example.
        width: units of every layer.
        layers: number of layers.

    Raises:
        SettingError: a number that is not whole and above 0.

    Example:
        >>> Mlp(12, width=8)(torch.ones(2, 3, 4)).shape
        torch.Size([2, 8])
    """

    def __init__(self, in_features: int, *, width: int = 64, layers: int = 2) -> None:
        for name, number in {"in_features": in_features, "width": width, "layers": layers}.items():
            checks.whole(name, number)
        sizes = [in_features, *[width] * layers]
        super().__init__(
            nn.Flatten(),
            *(
                part
                for before, after in pairwise(sizes)
                for part in (nn.Linear(before, after), nn.ReLU())
            ),
        )
        self.out_features = width


class Transformer(nn.Module):
    """Transformer layers over a sequence; the class token in front of it is the feature vector.

    Every step is projected to a token, sines of its position are added (Vaswani et al., NeurIPS
    2017, sections 3.1 and 3.5), and the last layer's class token is returned (Devlin et al., BERT,
    NAACL 2019). Six such layers per modality are the unimodal streams of Zong et al. (IJCAI 2024).

    Args:
        in_features: values per step of the sequence.
        width: length of a token, a multiple of `heads`.
        layers: number of layers.
        heads: attention heads of a layer.
        dropout: share of values dropped in training, 0 to 1.

    Raises:
        SettingError: a number that is not whole and above 0, or a width that the heads do
            not divide; when called, an input of another shape than (batch, steps, in_features).

    Example:
        >>> Transformer(6, width=8, layers=1)(torch.ones(2, 10, 6)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        in_features: int,
        *,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        checks.whole("in_features", in_features)
        self.layers = transformer(width, layers=layers, heads=heads, dropout=dropout)
        self.project = nn.Linear(in_features, width)
        self.class_token = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        self.out_features = width

    def forward(self, sequence: Tensor) -> Tensor:
        """Return features (batch, width) from a sequence (batch, steps, in_features)."""
        size = self.project.in_features
        fits = sequence.ndim == 3 and sequence.shape[2] == size
        checks.shape("sequence", sequence, f"(batch, steps, {size})", fits)
        steps = self.project(sequence)
        steps = steps + positions(steps.shape[1], self.out_features).to(steps)
        first = self.class_token.expand(len(steps), 1, -1)
        return self.layers(torch.cat([first, steps], dim=1))[:, 0]


def positions(steps: int, width: int) -> Tensor:
    """Return the sines and cosines that tell positions apart, (steps, width).

    `[p, 2i] = sin(p / 10000^(2i / width))` and `[p, 2i + 1]` its cosine (Vaswani et al., NeurIPS
    2017, section 3.5).

    Args:
        steps: number of positions, from 0 on.
        width: length of a token.

    Example:
        >>> positions(2, 4)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]
