"""AV-Digits with images that are harder to read, or slower to learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from imbalance_lens.datasets import AVDigits

SIDE = 8
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Images:
    """What the images are like; the sounds are always clean.

    Attributes:
        noise: as `AVDigits` takes it.
        field: side of the square in which an image's 8x8 pixels stand somewhere, each at a place
            of its own. Nothing of the digit is lost, but where it is has to be learned away.
        negative: whether every other image, at random, has its bright and dark exchanged.
    """

    noise: float = 0.0
    field: int = SIDE
    negative: bool = False

    def splits(self) -> list[Pairs]:
        """Return the examples to train on and those to test on, the same at every call."""
        made = [AVDigits(split, visual_noise=self.noise) for split in SPLITS]
        dark = float(made[0].visual.min())
        fields = [self._in_field(own.visual, dark, seed) for seed, own in enumerate(made)]
        mean, spread = fields[0].mean(), fields[0].std()
        return [
            Pairs(own.audio, (seen - mean) / spread, own.labels)
            for own, seen in zip(made, fields, strict=True)
        ]

    def _in_field(self, pixels: Tensor, dark: float, seed: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        if self.negative:
            exchanged = torch.randint(2, (len(pixels), 1, 1, 1), generator=draw).bool()
            pixels = torch.where(exchanged, -pixels, pixels)
        found = torch.full((len(pixels), 1, self.field, self.field), dark)
        places = torch.randint(self.field - SIDE + 1, (len(pixels), 2), generator=draw)
        for image, (row, column), whole in zip(pixels, places.tolist(), found, strict=True):
            whole[:, row : row + SIDE, column : column + SIDE] = image
        return found


@dataclass(frozen=True)
class Pairs(Dataset):
    """Sounds, images and labels, an example per row."""

    audio: Tensor
    visual: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int]:
        inputs = {"audio": self.audio[index], "visual": self.visual[index]}
        return inputs, int(self.labels[index])
