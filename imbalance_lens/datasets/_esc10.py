"""Everyday sounds of ESC-10, as noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._disk import missing, unusable
from .transforms import Array, needs_audio_extra, unit_power

TEST_FOLD = 5
SILENT = 0.01
"""A stretch with less than this share of its clip's mean power is left out."""


def read_noise(folder: Path, split: str, *, samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Return stretches of the clips, (stretches, samples), each scaled to a mean power of 1.

    Args:
        folder: holds `esc10` with the ten folders of ogg files.
        split: "test" reads the clips of fold 5, "train" those of folds 1 to 4.
        samples: length of a stretch.
        sample_rate: in Hz; the clips are resampled to it.

    Raises:
        DataError: there are no clips, or one is damaged; the message names it.
        MissingPackageError: soundfile is not installed.
    """
    place = folder / "esc10"
    clips = sorted(place.glob("*/[1-5]-*.ogg"))
    wanted = [p for p in clips if (int(p.name[0]) == TEST_FOLD) == (split == "test")]
    if not wanted:
        raise missing(place / "*" / "*.ogg", f"the clips of ESC-10 for the {split} split")
    stretches = np.concatenate([_loud_stretches(_read(p, sample_rate), samples) for p in wanted])
    if not len(stretches):
        raise unusable(place, f"no clip for the {split} split holds {samples} samples of sound")
    return unit_power(stretches)


def _loud_stretches(clip: Array, samples: int) -> Array:
    stretches = clip[: len(clip) // samples * samples].reshape(-1, samples)
    power = np.square(stretches).mean(axis=1)
    return stretches[power > SILENT * np.square(clip).mean()]


def _read(path: Path, sample_rate: int) -> Array:
    try:
        import soundfile
    except ImportError as error:
        raise needs_audio_extra("soundfile") from error
    from scipy.signal import resample_poly

    try:
        clip, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise unusable(path, f"it is no readable ogg file ({error})") from error
    if not len(clip):
        raise unusable(path, "it holds no sound")
    return resample_poly(clip.mean(axis=1), sample_rate, rate)
