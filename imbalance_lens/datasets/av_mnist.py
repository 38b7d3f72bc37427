"""AV-MNIST: handwritten digits of MNIST with recordings of the Free Spoken Digit Dataset.

Made in the way of Vielzeuf et al., "CentralNet: a Multilayer Approach for Multimodal Fusion"
(ECCV Workshops 2018): most of the images' energy is taken away and the sounds are made noisy,
so that neither modality suffices. The data is not bundled: MNIST is by Y. LeCun, C. Cortes and
C. Burges (CC BY-SA 3.0), the recordings by Z. Jackson and others (CC BY-SA 4.0), ESC-10 by
K. Piczak (CC BY).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from .. import checks
from ..errors import SettingError
from ._disk import data_folder
from ._download import download_missing
from ._esc10 import read_noise
from ._fsdd import SAMPLE_RATE, Recordings, find_recordings
from ._mnist import Images, read_mnist
from ._pairing import Ints, PairedDigits, check_seed, check_snr, generator, pair
from .transforms import Array, Projection, Standard, log_mel, noisy_wave, unit_power

SPLITS = ("train", "test")
N_FFT = 256
HOP = 128
N_MELS = 40
FRAMES = 64
SAMPLES = (FRAMES - 1) * HOP
"""Samples of a recording that are looked at: about a second."""


class AVMNIST(PairedDigits):
    """Serve recordings of spoken digits, each paired with an MNIST image of the same digit.

    One item is `({"audio": (1, 40, 64), "visual": (1, 28, 28)}, label)`, float32 and an int; the
    default collate of a DataLoader makes the batch `(inputs by modality, labels)` of it.
    Every recording appears once: 2,700 pairs in `train` and 300 in `test` (2,000 and 1,000 with
    `speakers="disjoint"`). As there are more images than recordings of each digit, no image is
    used twice, and none of `test` is in `train`.

    Audio is the log-mel spectrogram of the recording's first 1.008 s (40 mels, 64 frames of
    16 ms), after every recording was scaled to the same power. Both modalities are put on the
    scale on which the training split, degraded in the same way, has mean 0 and deviation 1.
    Whatever is fitted to data (that scale, the principal components) is fitted to the pairs of
    the training split.

    Args:
        split: "train" or "test".
        root: folder with `mnist/` or torchvision's `MNIST/raw/`, `fsdd/recordings/` and, for
            `noise="esc10"`, `esc10/`; the environment variable IMBALANCE_LENS_DATA if not given.
            Where only the 10,000 test images of MNIST are there, both splits take from them.
        visual_energy: share of the images' variance that is left, between 0 and 1: they are
            projected on the fewest principal components that hold more. None leaves them as
            they are.
        audio_snr_db: ratio in dB of the recording's mean power over its length to that of the
            noise over all 1.008 s, -100 to 100; they are mixed before the spectrogram. None adds
            no noise.
        noise: "white", or "esc10" for stretches of everyday sounds, which differ from split to
            split.
        speakers: "shared" for the official split (takes 0 to 4 of each speaker are for testing),
            "disjoint" to test on the last third of the speakers, by name.
        seed: 0 or above; decides pairing and noise. The noise of an example depends on seed,
            split and index only.
        download: fetch first what is not there yet: MNIST by torchvision, the recordings and
            ESC-10 from their authors' repositories.

    Raises:
        SettingError: an argument has a value that is not allowed.
        DataError: a file is missing, damaged or cannot be fetched; the message names it.
        MissingPackageError: torchaudio, or soundfile for `noise="esc10"`, is not installed.

    Example:
        With the data in the folder `data`::

            train = AVMNIST("train", root="data", audio_snr_db=-5.0, noise="esc10")
            loader = DataLoader(train, batch_size=64, shuffle=True)
    """

    def __init__(
        self,
        split: Literal["train", "test"] = "train",
        *,
        root: str | os.PathLike[str] | None = None,
        visual_energy: float | None = 0.25,
        audio_snr_db: float | None = None,
        noise: Literal["white", "esc10"] = "white",
        speakers: Literal["shared", "disjoint"] = "shared",
        seed: int = 0,
        download: bool = False,
    ) -> None:
        checks.one_of("split", split, SPLITS)
        checks.one_of("noise", noise, ("white", "esc10"))
        checks.one_of("speakers", speakers, ("shared", "disjoint"))
        if visual_energy is not None:
            checks.fraction("visual_energy", visual_energy)
        check_snr(audio_snr_db)
        check_seed(seed)
        if noise == "esc10" and audio_snr_db is None:
            raise SettingError("noise='esc10' adds nothing without a level. Give audio_snr_db too.")
        folder = data_folder(root)
        if download:
            download_missing(folder, with_esc10=noise == "esc10")
        recordings, images = find_recordings(folder, speakers), read_mnist(folder)

        heard, seen, image_ids = {}, {}, {}
        for of in {"train", split}:
            ids = recordings.of(of)
            image_ids[of] = _paired(recordings.digits[ids], images, of, seed)
            seen[of] = images.pixels[image_ids[of]].reshape(len(ids), -1).astype(np.float32)
            heard[of] = _log_mel(recordings, of, folder, audio_snr_db, noise, seed)
        if visual_energy is not None:
            keep = Projection.fitted(seen["train"], visual_energy)
            seen = {of: keep(pixels) for of, pixels in seen.items()}
        visual = Standard.fitted(seen["train"])(seen[split])
        ids = recordings.of(split)
        self._hold(
            Standard.fitted(heard["train"])(heard[split]),
            visual.reshape(-1, *images.pixels.shape[1:]),
            labels=recordings.digits[ids],
            sound_ids=ids,
            image_ids=image_ids[split],
            speakers=recordings.speakers[ids],
        )


def _paired(digits: Ints, images: Images, split: str, seed: int) -> Ints:
    ids = images.of(split)
    return ids[pair(digits, images.digits[ids], generator(seed, split, "pairs"))]


def _log_mel(
    recordings: Recordings,
    split: str,
    folder: Path,
    snr_db: float | None,
    noise: str,
    seed: int,
) -> Array:
    waves, lengths = recordings.waves(recordings.of(split), SAMPLES)
    waves = unit_power(waves, lengths)
    if snr_db is not None:
        waves = noisy_wave(waves, _noise(noise, len(waves), split, folder, seed), snr_db)
    return log_mel(waves, sample_rate=SAMPLE_RATE, n_fft=N_FFT, hop=HOP, n_mels=N_MELS)


def _noise(kind: str, count: int, split: str, folder: Path, seed: int) -> Array:
    rng = generator(seed, split, f"{kind} noise")
    if kind == "white":
        return unit_power(rng.standard_normal((count, SAMPLES), dtype=np.float32))
    stretches = read_noise(folder, split, samples=SAMPLES, sample_rate=SAMPLE_RATE)
    return stretches[rng.integers(len(stretches), size=count)]
