"""Models whose modalities meet on the way: attention, taps, exchanges between branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS, CLASSES = 8, 3


class CrossAttention(nn.Module):
    """Tokens of both modalities (batch, time, 6) and (batch, time, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_embed = nn.Linear(6, CHANNELS)
        self.visual_embed = nn.Linear(4, CHANNELS)
        self.audio_layer = self.layer()
        self.visual_layer = self.layer()
        self.audio_asks = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)
        self.visual_asks = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)
        self.joint = self.layer()
        self.head = nn.Linear(CHANNELS, CLASSES)

    @staticmethod
    def layer() -> nn.Module:
        return nn.TransformerEncoderLayer(CHANNELS, 2, 16, batch_first=True)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a = self.audio_layer(self.audio_embed(audio))
        v = self.visual_layer(self.visual_embed(visual))
        a_seen, _ = self.audio_asks(a, v, v)
        v_seen, _ = self.visual_asks(v, a, a)
        return self.head(self.joint(torch.cat([a_seen, v_seen], 1)).mean(1))


class Tower(nn.Module):
    """Three layers that the model calls one by one; never called itself."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(width, CHANNELS) for width in (size, CHANNELS, CHANNELS)
        )


class CentralNet(nn.Module):
    """A central network that taps every layer of both unimodal ones."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = Tower(6)
        self.visual = Tower(4)
        self.central = nn.ModuleList(nn.Linear(CHANNELS, CHANNELS) for _ in range(3))
        self.weights = nn.Parameter(torch.rand(3, 3))
        self.head = nn.Linear(CHANNELS, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v, c = audio, visual, torch.zeros(len(audio), CHANNELS)
        for i, center in enumerate(self.central):
            a = self.audio.layers[i](a).relu()
            v = self.visual.layers[i](v).relu()
            weight = self.weights[i]
            c = center(weight[0] * a + weight[1] * v + weight[2] * c).relu()
        return self.head(c)


class FlatCentralNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a1, self.a2 = nn.Linear(6, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.v1, self.v2 = nn.Linear(4, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.c1, self.c2 = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.head = nn.Linear(CHANNELS, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a1, v1 = self.a1(audio).relu(), self.v1(visual).relu()
        a2, v2 = self.a2(a1).relu(), self.v2(v1).relu()
        return self.head(self.c2(self.c1(a1 + v1).relu() + a2 + v2).relu())


class Exchange(nn.Module):
    """Squeeze both streams, excite each with what both say (MMTM)."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Linear(2 * CHANNELS, CHANNELS)
        self.to_audio = nn.Linear(CHANNELS, CHANNELS)
        self.to_visual = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, a: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        both = self.squeeze(torch.cat([a, v], 1)).relu()
        return a * self.to_audio(both).sigmoid(), v * self.to_visual(both).sigmoid()


class Branch(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.stem = nn.Linear(size, CHANNELS)
        self.layer1 = nn.Linear(CHANNELS, CHANNELS)
        self.layer2 = nn.Linear(CHANNELS, CHANNELS)
        self.layer3 = nn.Linear(CHANNELS, CHANNELS)


class Mmtm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio = Branch(6)
        self.visual = Branch(4)
        self.exchange = Exchange()
        self.head = nn.Linear(2 * CHANNELS, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.audio.stem(audio).relu(), self.visual.stem(visual).relu()
        a, v = self.audio.layer1(a).relu(), self.visual.layer1(v).relu()
        a, v = self.audio.layer2(a).relu(), self.visual.layer2(v).relu()
        a, v = self.exchange(a, v)
        a, v = self.audio.layer3(a).relu(), self.visual.layer3(v).relu()
        return self.head(torch.cat([a, v], 1))


class FlatMmtm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a1, self.v1 = nn.Linear(6, CHANNELS), nn.Linear(4, CHANNELS)
        self.exchange = Exchange()
        self.a2, self.v2 = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.head = nn.Linear(2 * CHANNELS, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.exchange(self.a1(audio).relu(), self.v1(visual).relu())
        return self.head(torch.cat([self.a2(a).relu(), self.v2(v).relu()], 1))
