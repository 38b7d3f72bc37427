"""The images of MNIST, from the idx files that everybody distributes."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._disk import missing, unusable
from ._pairing import Ints

EVERY_FIFTH = 5


@dataclass(frozen=True)
class Images:
    """Images (images, 28, 28) with pixels 0 to 255, what they show, and their split."""

    pixels: NDArray[np.uint8]
    digits: NDArray[np.uint8]
    splits: NDArray[np.str_]

    def of(self, split: str) -> Ints:
        """Return the positions of a split's images."""
        return np.flatnonzero(self.splits == split)


def has_training_images(folder: Path) -> bool:
    """Say whether the folder holds the 60,000 training images too."""
    return any(path.exists() for path in _places(folder, _images_name("train")))


def read_mnist(folder: Path) -> Images:
    """Read the images and share them out to "train" and "test".

    With the training images the official split is kept. Where only the 10,000 test images are
    there, every fifth image of each digit is for testing and the others for training.

    Raises:
        DataError: a file is missing or cannot be used; the message names it.
    """
    if has_training_images(folder):
        (pixels, digits), (more, more_digits) = _part(folder, "train"), _part(folder, "t10k")
        splits = np.repeat(["train", "test"], [len(pixels), len(more)])
        return Images(np.concatenate([pixels, more]), np.append(digits, more_digits), splits)
    pixels, digits = _part(folder, "t10k")
    splits = np.full(len(digits), "train", dtype="<U5")
    for digit in np.unique(digits):
        splits[np.flatnonzero(digits == digit)[::EVERY_FIFTH]] = "test"
    return Images(pixels, digits, splits)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an array of bytes from an idx file, gzipped or not.

    Args:
        path: the file; the ending .gz says that it is compressed.
        dimensions: how many the array must have.

    Raises:
        DataError: the file is damaged or is something else.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise unusable(path, error) from error
    magic, header = 0x800 + dimensions, 4 * (1 + dimensions)
    if len(raw) < header:
        raise unusable(path, f"it has {len(raw)} bytes, and an idx header alone has {header}")
    found, *shape = struct.unpack_from(f">{1 + dimensions}I", raw)
    if found != magic:
        raise unusable(path, f"it begins with the number {found}, and {magic} marks such a file")
    values = np.frombuffer(raw, np.uint8, offset=header)
    if len(values) != np.prod(shape, dtype=np.int64):
        raise unusable(path, f"its header promises {shape} bytes and {len(values)} follow")
    return values.reshape(shape)


def _part(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images, labels = _found(folder, _images_name(part)), _found(folder, f"{part}-labels-idx1-ubyte")
    pixels, digits = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(digits):
        raise unusable(labels, f"it has {len(digits)} labels for {len(pixels)} images")
    return pixels, digits


def _images_name(part: str) -> str:
    return f"{part}-images-idx3-ubyte"


def _places(folder: Path, name: str) -> list[Path]:
    layouts = (folder / "mnist", folder / "MNIST" / "raw")
    return [place / f"{name}{ending}" for place in layouts for ending in (".gz", "")]


def _found(folder: Path, name: str) -> Path:
    places = _places(folder, name)
    for path in places:
        if path.exists():
            return path
    raise missing(places[0], f"{name} of MNIST")
