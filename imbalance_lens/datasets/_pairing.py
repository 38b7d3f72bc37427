"""What both sets of digits share: which image goes with which sound, and the finished pairs."""

from __future__ import annotations

import math
import zlib
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import DataError, SettingError

Ints = NDArray[np.integer]
Item = tuple[dict[str, Tensor], int]

LIMIT_DB = 100


class PairedDigits(Dataset[Item]):
    """Sound and image of the same digit, held in memory; reading an item is an index.

    Attributes:
        audio: (pairs, 1, mels, frames) float32.
        visual: (pairs, 1, height, width) float32.
        labels: (pairs,) int64, the digits.
        sound_ids: (pairs,) int64, which sound of the whole corpus each pair holds.
        image_ids: (pairs,) int64, which image of the whole corpus each pair holds.
        speakers: who says each pair's digit.
    """

    audio: Tensor
    visual: Tensor
    labels: Tensor
    sound_ids: Tensor
    image_ids: Tensor
    speakers: tuple[str, ...]

    def _hold(
        self,
        audio: NDArray[np.float32],
        visual: NDArray[np.float32],
        *,
        labels: Ints,
        sound_ids: Ints,
        image_ids: Ints,
        speakers: NDArray[np.str_],
    ) -> None:
        self.audio = torch.from_numpy(audio).unsqueeze(1)
        self.visual = torch.from_numpy(visual).unsqueeze(1)
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.sound_ids = torch.from_numpy(sound_ids.astype(np.int64))
        self.image_ids = torch.from_numpy(image_ids.astype(np.int64))
        self.speakers = tuple(speakers.tolist())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        inputs = {"audio": self.audio[index], "visual": self.visual[index]}
        return inputs, int(self.labels[index])


def pair(digits: Ints, image_digits: Ints, rng: np.random.Generator) -> Ints:
    """Choose an image of the same digit for every sound.

    The images of a digit are used in turn, in random order, so that within one digit no image
    is used more than once more than another.

    Args:
        digits: (sounds,) what each sound says.
        image_digits: (images,) what each image shows; digits of 0 to 9.
        rng: where the random numbers come from.

    Returns:
        (sounds,) positions in `image_digits`.

    Raises:
        DataError: a digit is said that no image shows.
    """
    chosen = np.empty(len(digits), dtype=np.int64)
    for digit in np.unique(digits):
        sounds = np.flatnonzero(digits == digit)
        images = np.flatnonzero(image_digits == digit)
        if not len(images):
            raise DataError(f"No image shows the digit {digit}, which some sounds say.")
        rounds = math.ceil(len(sounds) / len(images))
        turns = np.concatenate([rng.permutation(images) for _ in range(rounds)])
        chosen[sounds] = turns[: len(sounds)]
    return chosen


def generator(seed: int, split: str, purpose: str) -> np.random.Generator:
    """Return a source of random numbers that depends on these three alone."""
    return np.random.default_rng([seed, zlib.crc32(f"{split}/{purpose}".encode())])


def check_seed(seed: object) -> None:
    """Complain unless the seed is a whole number from 0 on."""
    if not isinstance(seed, Integral) or seed < 0:
        raise SettingError(f"seed must be a whole number, 0 or above; got {seed!r}.")


def check_snr(audio_snr_db: float | None) -> None:
    """Complain unless the signal-to-noise ratio can be had in single precision, or is None."""
    if audio_snr_db is not None and not -LIMIT_DB <= audio_snr_db <= LIMIT_DB:
        raise SettingError(
            f"audio_snr_db must lie between {-LIMIT_DB} and {LIMIT_DB} decibels, or be None for "
            f"no noise; got {audio_snr_db!r}."
        )
