"""A small folder in the layout of the real data: 3 speakers, 7 takes, 400 images, 10 clips."""

import gzip
import struct
import wave
from itertools import product
from pathlib import Path

import numpy as np

SPEAKERS = ("ann", "bob", "cy")
TAKES = range(7)
RATE = 8000


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    raw = header + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)


def write_images(folder: Path, part: str, count: int, *, ending: str = ".gz") -> None:
    rng = np.random.default_rng(len(part))
    digits = np.arange(count) % 10
    pixels = rng.integers(256, size=(count, 28, 28))
    write_idx(folder / f"{part}-images-idx3-ubyte{ending}", pixels)
    write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", digits)


def write_wave(path: Path, samples: np.ndarray, *, rate: int = RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def write_recordings(place: Path) -> None:
    for digit, (voice, speaker), take in product(range(10), enumerate(SPEAKERS), TAKES):
        time = np.arange(800 + 40 * take) / RATE
        tone = 8000 * np.sin(2 * np.pi * (300 + 200 * digit + 20 * voice + take) * time)
        write_wave(place / f"{digit}_{speaker}_{take}.wav", tone)


def write_clips(place: Path, *, seconds: float = 3) -> None:
    """Write one clip per fold; that of fold 1 falls silent after the first third."""
    import soundfile

    rng = np.random.default_rng(0)
    for fold in range(1, 6):
        clip = rng.normal(0, 0.1, int(seconds * 44_100))
        if fold == 1:
            clip[len(clip) // 3 :] = 0
        path = place / "002 - Rain" / f"{fold}-{fold}00-A.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, clip, 44_100, format="OGG", subtype="VORBIS")


def write_all(folder: Path) -> Path:
    write_images(folder / "mnist", "t10k", 400)
    write_recordings(folder / "fsdd" / "recordings")
    return folder
