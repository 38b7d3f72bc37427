"""Models whose encoders never see the other modality: the ways to fuse at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

AUDIO, VISUAL, WIDTH, CLASSES = 6, 8, 5, 3


def mlp(size: int, width: int = WIDTH) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, 16), nn.ReLU(inplace=True), nn.Linear(16, width))


class TwoEncoders(nn.Module):
    """What most of the models below share; they differ in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_net = mlp(AUDIO)
        self.visual_net = mlp(VISUAL)

    def encode(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        return self.audio_net(audio), self.visual_net(visual)


class LateConcat(TwoEncoders):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat(self.encode(audio, visual), 1))


class ConcatProjections(TwoEncoders):
    def __init__(self) -> None:
        super().__init__()
        self.audio_proj = nn.Linear(WIDTH, 4)
        self.visual_proj = nn.Linear(WIDTH, 4)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        return self.head(torch.cat([self.audio_proj(a).relu(), self.visual_proj(v).relu()], 1))


class SumOfFeatures(TwoEncoders):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        a += v
        return self.head(a)


class SumOfLogits(TwoEncoders):
    def __init__(self) -> None:
        super().__init__()
        self.audio_head = nn.Linear(WIDTH, CLASSES)
        self.visual_head = nn.Linear(WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        return self.audio_head(a) + self.visual_head(v)


class Film(TwoEncoders):
    def __init__(self, silent: bool = False) -> None:
        super().__init__()
        self.film = nn.Linear(WIDTH, 2 * WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)
        if silent:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        scale, shift = self.film(v).chunk(2, 1)
        return self.head(a * (1 + scale) + shift)


class Gated(TwoEncoders):
    def __init__(self) -> None:
        super().__init__()
        self.audio_gate = nn.Linear(WIDTH, WIDTH)
        self.visual_gate = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        return self.head(self.audio_gate(a).sigmoid() * v + self.visual_gate(v).sigmoid() * a)


class MlpHead(TwoEncoders):
    def __init__(self) -> None:
        super().__init__()
        self.head = mlp(2 * WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat(self.encode(audio, visual), 1))


class Bilinear(TwoEncoders):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Bilinear(WIDTH, WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(*self.encode(audio, visual))


class ManyModalities(nn.Module):
    """One keyword argument per modality, as many as wanted."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: mlp(size) for name, size in sizes.items()})
        self.head = nn.Linear(len(sizes) * WIDTH, CLASSES)

    def forward(self, **inputs: Tensor) -> Tensor:
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        return self.head(torch.cat(features, 1))


class ResNets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio_net = resnet18(num_classes=WIDTH)
        self.visual_net = resnet18(num_classes=WIDTH)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio_net(audio), self.visual_net(visual)], 1))


class TupleOutput(LateConcat):
    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, v = self.encode(audio, visual)
        return a, v, self.head(torch.cat([a, v], 1))


@dataclass
class Answer:
    logits: Tensor
    features: tuple[Tensor, Tensor]


class DataclassOutput(LateConcat):
    def forward(self, audio: Tensor, visual: Tensor) -> Answer:
        a, v = self.encode(audio, visual)
        return Answer(self.head(torch.cat([a, v], 1)), (a, v))


class FrozenEncoder(LateConcat):
    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        with torch.no_grad():
            a = self.audio_net(audio).detach()
        return self.head(torch.cat([a, self.visual_net(visual)], 1))


class ValueBranch(LateConcat):
    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        if a.mean() > v.mean():
            return self.head(torch.cat([a, v], 1))
        return self.head(torch.cat([a, v], 1)) * 2


class NumpyRoundTrip(LateConcat):
    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        spectrum = torch.from_numpy(np.abs(audio.cpu().numpy()))
        return super().forward(spectrum, visual)


class UnusedInput(LateConcat):
    def forward(self, audio: Tensor, visual: Tensor, index: Tensor) -> Tensor:  # pyright: ignore
        return super().forward(audio, visual)


class SilentModality(LateConcat):
    """`visual` is taken and never used: only its shape is."""

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        nothing = torch.zeros_like(visual)
        return self.head(torch.cat([self.audio_net(audio), nothing[:, :WIDTH]], 1))


class Bypassed(LateConcat):
    """The mean of the raw audio passes by the encoder."""

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        return self.head(torch.cat([a + audio.mean(1, keepdim=True), v], 1))
