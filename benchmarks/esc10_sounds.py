"""The sounds of ESC-10 as images for a network that was trained on images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imbalance_lens.datasets.transforms import Standard, log_mel, unit_power

FOLDS = (1, 2, 3, 4, 5)
SECONDS, SAMPLE_RATE = 5, 16_000
N_MELS, FRAMES, N_FFT = 32, 64, 2048
TIME_MASK, MEL_MASK = 8, 4
"""Longest mask in frames, and in mels."""


@dataclass(frozen=True)
class Sounds:
    """Log-mel spectrograms of clips.

    Attributes:
        decibels: (clips, mels, frames).
        labels: (clips,).
        folds: (clips,), 1 to 5; clips of one recording are in the same.
    """

    decibels: np.ndarray
    labels: Tensor
    folds: np.ndarray

    def split(self, fold: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Return images (n, 3, mels, frames) and labels of "train" and of "test", the fold.

        The three colors are the same, and the scale is that on which the training clips have
        mean 0 and deviation 1.
        """
        parts = {"train": self.folds != fold, "test": self.folds == fold}
        scale = Standard.fitted(self.decibels[parts["train"]])
        found = {}
        for part, own in parts.items():
            gray = torch.from_numpy(scale(self.decibels[own])).unsqueeze(1)
            found[part] = (as_image(gray), self.labels[torch.from_numpy(own)])
        return found


def read_sounds(folder: Path, *, every: int = 1) -> Sounds:
    """Read every `every`-th clip of `<folder>/<class>/<fold>-<name>.ogg`."""
    import soundfile
    from scipy.signal import resample_poly

    clips = sorted(folder.glob("*/[1-5]-*.ogg"))[::every]
    classes = sorted({clip.parent.name for clip in clips})
    waves = np.zeros((len(clips), SECONDS * SAMPLE_RATE), np.float32)
    for place, clip in enumerate(clips):
        wave, rate = soundfile.read(clip, dtype="float32", always_2d=True)
        heard = resample_poly(wave.mean(1), SAMPLE_RATE, rate)[: waves.shape[1]]
        waves[place, : len(heard)] = heard
    hop = waves.shape[1] // FRAMES
    decibels = log_mel(
        unit_power(waves), sample_rate=SAMPLE_RATE, n_fft=N_FFT, hop=hop, n_mels=N_MELS
    )
    return Sounds(
        decibels[:, :, :FRAMES],
        torch.tensor([classes.index(clip.parent.name) for clip in clips]),
        np.array([int(clip.name[0]) for clip in clips]),
    )


def as_image(gray: Tensor) -> Tensor:
    """Repeat (n, 1, height, width) to three colors, in the layout that convolutions like."""
    return gray.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, draw: torch.Generator) -> Tensor:
    """Return images turned in time at random, with a stretch of frames and one of mels masked.

    Masks are as in SpecAugment (Park et al., Interspeech 2019), each as long as up to its bound,
    and hold the mean of the training clips, 0.
    """
    gray = images[:, :1]
    count, _, mels, frames = gray.shape
    shift = torch.randint(frames, (count, 1), generator=draw)
    turned = (torch.arange(frames) - shift) % frames
    gray = gray.gather(3, turned[:, None, None].expand_as(gray))
    in_time = _mask(count, frames, TIME_MASK, draw)[:, None, None]
    in_mels = _mask(count, mels, MEL_MASK, draw)[:, None, :, None]
    return as_image(gray.masked_fill(in_time | in_mels, 0))


def _mask(count: int, size: int, longest: int, draw: torch.Generator) -> Tensor:
    """Return (count, size), True in a stretch of up to `longest` places."""
    length = torch.randint(longest + 1, (count, 1), generator=draw)
    start = (torch.rand(count, 1, generator=draw) * (size - length + 1)).long()
    place = torch.arange(size)
    return (place >= start) & (place < start + length)
