"""Models that call their parts, or take and give their tensors, in unusual ways."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from .late import AUDIO, CLASSES, VISUAL, WIDTH, LateConcat, mlp


class PackedLstm(nn.Module):
    """A padded sequence (batch, time, 6) with its lengths, and a feature vector."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_rnn = nn.LSTM(AUDIO, WIDTH, batch_first=True)
        self.visual_net = mlp(VISUAL)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, audio: Tensor, lengths: Tensor, visual: Tensor) -> Tensor:
        packed = pack_padded_sequence(audio, lengths, batch_first=True)
        _, (last, _) = self.audio_rnn(packed)
        return self.head(torch.cat([last[-1], self.visual_net(visual)], 1))


class StridedEncoder(nn.Module):
    """Answers features and how many of them count, as speech encoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(AUDIO, WIDTH, 3, stride=2)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x.transpose(1, 2)).transpose(1, 2), (lengths - 3) // 2 + 1


class FeaturesAndLengths(PackedLstm):
    def __init__(self) -> None:
        super().__init__()
        self.audio_rnn = StridedEncoder()

    def forward(self, audio: Tensor, lengths: Tensor, visual: Tensor) -> Tensor:
        features, counts = self.audio_rnn(audio, lengths)
        kept = torch.arange(features.shape[1]) < counts[:, None]
        mean = (features * kept[..., None]).sum(1) / counts[:, None]
        return self.head(torch.cat([mean, self.visual_net(visual)], 1))


class TextEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        kept = self.mix(self.words(ids)) * mask.unsqueeze(-1)
        return kept.sum(1) / mask.sum(1, keepdim=True)


class TextAndImage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text = TextEncoder()
        self.vision = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(WIDTH + 4, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, image: Tensor) -> Tensor:
        return self.head(torch.cat([self.text(input_ids, attention_mask), self.vision(image)], 1))


class TypedTextEncoder(nn.Module):
    """Token types and token ids have a table each and are added, as in BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, WIDTH)
        self.types = nn.Embedding(2, WIDTH)
        self.positions = nn.Embedding(7, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 1, 8, batch_first=True)

    def forward(self, ids: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        x = self.words(ids) + self.types(types) + self.positions(torch.arange(ids.shape[1]))
        return self.layer(x, src_key_padding_mask=mask == 0).mean(1)


class TypedTextAndImage(TextAndImage):
    def __init__(self) -> None:
        super().__init__()
        self.text = TypedTextEncoder()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor, image: Tensor
    ) -> dict[str, Tensor]:
        text = self.text(input_ids, token_type_ids, attention_mask)
        logits = self.head(torch.cat([text, self.vision(image)], 1))
        return OrderedDict(logits=logits, pooled=text)


class SharedTrunk(nn.Module):
    """One network for both modalities, called once for each."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = mlp(AUDIO)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.cat([self.trunk(left), self.trunk(right)], 1))


class SharedTable(nn.Module):
    """Two texts with an encoder each, and one embedding table that both encoders hold."""

    def __init__(self) -> None:
        super().__init__()
        table = nn.Embedding(20, WIDTH)
        self.question = nn.Sequential(table, nn.Flatten(), nn.Linear(7 * WIDTH, WIDTH))
        self.passage = nn.Sequential(table, nn.Flatten(), nn.Linear(7 * WIDTH, WIDTH))
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, question: Tensor, passage: Tensor) -> Tensor:
        return self.head(torch.cat([self.question(question), self.passage(passage)], 1))


class MethodEncoders(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Linear(AUDIO, 12), nn.Linear(12, WIDTH)
        self.d1, self.d2 = nn.Linear(VISUAL, 12), nn.Linear(12, WIDTH)
        self.relu = nn.ReLU()
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def encode_audio(self, x: Tensor) -> Tensor:
        return self.c2(self.relu(self.c1(x)))

    def encode_visual(self, x: Tensor) -> Tensor:
        return self.d2(self.relu(self.d1(x)))

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        features = [self.encode_audio(audio), self.encode_visual(visual)]
        return self.head(self.relu(torch.cat(features, 1)))


class GroupedEncoder(nn.Module):
    """Encodes both modalities in one grouped convolution: no module is one modality's."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named
        self.both = nn.Conv1d(2 * AUDIO, 2 * WIDTH, 1, groups=2)

    def forward(self, audio: Tensor, visual: Tensor) -> Any:
        mixed = self.both(torch.cat([audio, visual], 1).unsqueeze(-1)).squeeze(-1)
        a, v = mixed.chunk(2, 1)
        return {"audio": a, "visual": v} if self.named else (a, v)


class OneEncoder(nn.Module):
    def __init__(self, named: bool = False) -> None:
        super().__init__()
        self.encoder = GroupedEncoder(named)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        features = self.encoder(audio, visual)
        parts = features.values() if isinstance(features, dict) else features
        return self.head(torch.cat(list(parts), 1))


class NestedBatch(LateConcat):
    """Takes one mapping; the audio in it is a mapping again."""

    def forward(self, batch: dict[str, Any]) -> Tensor:  # pyright: ignore
        sound = batch["audio"]
        return super().forward(sound["wave"] * sound["gain"], batch["visual"])


class NestedModalities(LateConcat):
    """All modalities sit in one mapping, next to something else."""

    def forward(self, data: dict[str, Tensor], scale: float) -> Tensor:  # pyright: ignore
        return super().forward(data["audio"], data["visual"]) * scale


class MovingAverage(LateConcat):
    """Writes a buffer whenever it is called, in eval mode too."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        a, v = self.encode(audio, visual)
        self.mean.mul_(0.9).add_(0.1 * a.mean(0))
        return self.head(torch.cat([a - self.mean, v], 1))


class OneTensor(nn.Module):
    """Both modalities arrive in one tensor (batch, 2, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.left_net, self.right_net = mlp(AUDIO), mlp(AUDIO)
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left_net(x[:, 0]), self.right_net(x[:, 1])], 1))


class RawTable(nn.Module):
    """An image with an encoder, and a table that goes into the head as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.visual_net = mlp(VISUAL)
        self.head = mlp(WIDTH + 4, CLASSES)

    def forward(self, visual: Tensor, table: Tensor) -> Tensor:
        return self.head(torch.cat([self.visual_net(visual), table], 1))
