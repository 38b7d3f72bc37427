"""The recordings of the Free Spoken Digit Dataset."""

from __future__ import annotations

import re
import wave
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ._disk import missing, unusable
from ._pairing import Ints

SAMPLE_RATE = 8_000
FORM = (1, 16, SAMPLE_RATE)
"""Channels, bits and rate of every recording."""
TEST_TAKES = 5
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)\.wav")


@dataclass(frozen=True)
class Recordings:
    """Which recordings there are, sorted by file name, and the split of each."""

    paths: list[Path]
    digits: Ints
    speakers: NDArray[np.str_]
    splits: NDArray[np.str_]

    def of(self, split: str) -> Ints:
        """Return the positions of a split's recordings."""
        return np.flatnonzero(self.splits == split)

    def waves(self, ids: Ints, samples: int) -> tuple[NDArray[np.float32], Ints]:
        """Return the recordings' beginnings (clips, samples), zero-padded, and their lengths.

        Raises:
            DataError: a file is damaged or is no recording of this set.
        """
        waves = np.zeros((len(ids), samples), dtype=np.float32)
        lengths = np.empty(len(ids), dtype=np.int64)
        for row, i in enumerate(ids):
            kept = _read(self.paths[i])[:samples]
            waves[row, : len(kept)] = kept
            lengths[row] = len(kept)
        return waves, lengths


def find_recordings(folder: Path, speakers: str) -> Recordings:
    """Find the recordings and share them out to "train" and "test".

    Args:
        folder: holds `fsdd/recordings`.
        speakers: "shared" keeps the official split (takes 0 to 4 of every speaker are for
            testing); "disjoint" gives all takes of the last third of the speakers, by name, to
            the test split.

    Raises:
        DataError: there are none, one is missing, or a split would be empty.
    """
    place = folder / "fsdd" / "recordings"
    paths = sorted(place.glob("*.wav"))
    if not paths:
        raise missing(place / "*.wav", "the Free Spoken Digit Dataset")
    said = [_parsed(path) for path in paths]
    _complain_about_gaps(place, said)
    digits, names, takes = (np.array(column) for column in zip(*said, strict=True))
    if speakers == "shared":
        is_test = takes < TEST_TAKES
    else:
        known = np.unique(names)
        is_test = np.isin(names, known[len(known) - len(known) // 3 :])
    if is_test.all() or not is_test.any():
        raise DataError(
            f"speakers={speakers!r} leaves a split empty: {place} holds takes "
            f"{takes.min()} to {takes.max()} of {len(set(names))} speakers. "
            "Fetch the whole set with download=True into an empty folder."
        )
    return Recordings(paths, digits, names, np.where(is_test, "test", "train"))


def _parsed(path: Path) -> tuple[int, str, int]:
    match = NAME.fullmatch(path.name)
    if match is None:
        raise unusable(path, "its name is not {digit}_{speaker}_{take}.wav")
    return int(match["digit"]), match["speaker"], int(match["take"])


def _complain_about_gaps(place: Path, said: list[tuple[int, str, int]]) -> None:
    speakers, takes = ({one[i] for one in said} for i in (1, 2))
    gaps = sorted(set(product(range(10), speakers, takes)) - set(said))
    if gaps:
        digit, speaker, take = gaps[0]
        more = f", and {len(gaps) - 1} more" if len(gaps) > 1 else ""
        raise unusable(place, f"{digit}_{speaker}_{take}.wav is missing{more}")


def _read(path: Path) -> NDArray[np.float32]:
    try:
        with wave.open(str(path)) as file:
            form = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate())
            promised = file.getnframes()
            data = file.readframes(promised)
    except (OSError, EOFError, wave.Error) as error:
        why = str(error) or "it ends inside its header"
        raise unusable(path, f"it is no readable wav file ({why})") from error
    if form != FORM:
        has, wanted = ("{} x {} bits at {} Hz".format(*one) for one in (form, FORM))
        raise unusable(path, f"it has {has}, and {wanted} is needed")
    if not promised or len(data) != 2 * promised:
        raise unusable(path, f"its header promises {promised} samples and {len(data) // 2} follow")
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
