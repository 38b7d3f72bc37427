"""Make the sounds of `imbalance_lens.datasets.AVDigits`: 3,000 spoken digits as log-mel arrays.

    python examples/make_av_digits.py av_digits.npz

Needs the speech synthesizer espeak-ng (a Debian package: apt-get install espeak-ng). The file
in the wheel was made with version 1.51; the same version gives the same bytes again.

Every voice speaks every digit five times, each time with an accent, a speed and a pitch of its
own. The recordings are resampled to 8 kHz, trimmed of silence and scaled to a mean power of 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import ShortTimeFFT, resample_poly
from scipy.signal.windows import hann

from imbalance_lens.datasets.transforms import FLOOR_DB, decibel
from imbalance_lens.files import replacing

SEED = 0
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TAKES = 5
ACCENTS = (
    "en-us",
    "en-us-nyc",
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
WORDS_PER_MINUTE = (120, 200)
PITCH = (25, 75)
# Left out: variants that are another one under a second name or nearly so (root mean square
# difference of the log-mel of all digits below 3.5 dB), and effects that hide the word.
# fmt: off
VOICES = (
    "m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "croak", "whisper",
    "whisperf", "klatt", "klatt4", "Andrea", "Andy", "Annie", "AnxiousAndy", "Gene", "Hugo",
    "Jacky", "Lee", "Marco", "RicishayMax", "RicishayMax2", "RicishayMax3", "Storm", "Tweaky",
    "anikaRobot", "antonio", "belinda", "boris", "david", "ed", "edward", "grandma", "gustave",
    "iven", "iven4", "john", "linda", "michel", "norbert", "pablo", "paul", "pedro", "rob",
    "robosoft3", "robosoft4", "robosoft6", "robosoft7", "robosoft8", "shelby", "steph2", "travis",
    "victor", "zac",
)
# fmt: on
VOICES_OF = {"train": 36, "val": 12, "test": 12}

SYNTHESIZER_RATE = 22_050
SAMPLE_RATE = 8_000
TRIM = 0.02  # of the peak: what is softer at either end is silence
N_FFT = 256
HOP = 160
N_MELS = 32
FRAMES = 32
STEP_DB = 0.5

LICENSE = (
    "Synthesized with espeak-ng by examples/make_av_digits.py of imbalance-lens. "
    "These arrays are part of imbalance-lens and under its license, Apache-2.0."
)


class Take(NamedTuple):
    """What one recording says, and how."""

    voice: int
    digit: int
    accent: int
    speed: int
    pitch: int


def main() -> None:
    """Write the file that the command line names."""
    parser = argparse.ArgumentParser(description="Synthesize the sounds of AVDigits.")
    parser.add_argument("path", type=Path, help="the .npz file to write")
    path = parser.parse_args().path
    made = arrays(takes(np.random.default_rng(SEED)))
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **made)
    print(f"{path}: {len(made['digit'])} sounds, {path.stat().st_size / 1e6:.2f} MB")


def takes(rng: np.random.Generator) -> list[Take]:
    """Return what is to be spoken: every voice, every digit, `TAKES` times."""
    return [
        Take(
            voice,
            digit,
            accent=int(rng.integers(len(ACCENTS))),
            speed=int(rng.integers(*WORDS_PER_MINUTE, endpoint=True)),
            pitch=int(rng.integers(*PITCH, endpoint=True)),
        )
        for voice, digit, _ in product(range(len(VOICES)), range(len(WORDS)), range(TAKES))
    ]


def arrays(spoken: list[Take]) -> dict[str, NDArray]:
    """Return the content of the file."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waves = list(pool.map(speak, spoken))
    bank = mel_filters(SAMPLE_RATE, N_FFT, N_MELS)
    noise_mean, noise_freedom = white_noise(bank)
    voice, digit, accent, speed, pitch = np.array(spoken, dtype=np.uint8).T
    split = np.repeat(list(VOICES_OF), list(VOICES_OF.values()))
    return {
        "log_mel": quantized(decibel(np.stack([mel_power(wave, bank) for wave in waves]))),
        "sounding": np.array([sounding_frames(len(wave)) for wave in waves], dtype=np.uint8),
        "digit": digit,
        "voice": voice,
        "accent": accent,
        "words_per_minute": speed,
        "pitch": pitch,
        "voices": np.array(VOICES),
        "accents": np.array(ACCENTS),
        "split_of_voice": np.random.default_rng(SEED).permutation(split),
        "noise_mean": noise_mean,
        "noise_freedom": noise_freedom,
        "floor_db": np.array(FLOOR_DB),
        "step_db": np.array(STEP_DB),
        "sample_rate": np.array(SAMPLE_RATE),
        "n_fft": np.array(N_FFT),
        "hop": np.array(HOP),
        "n_mels": np.array(N_MELS),
        "espeak_ng": np.array(synthesizer_version()),
        "license": np.array(LICENSE),
    }


def synthesizer_version() -> str:
    """Return the version of the espeak-ng that is installed."""
    said = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return re.findall(r"\d+(?:\.\d+)+", said.stdout)[0]


def speak(take: Take) -> NDArray[np.float64]:
    """Return the sound of one take: (samples,) at `SAMPLE_RATE`, trimmed, mean power 1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spoken.wav")
        voice = f"{ACCENTS[take.accent]}+{VOICES[take.voice]}"
        how = ["-v", voice, "-s", str(take.speed), "-p", str(take.pitch), "-w", str(path)]
        subprocess.run(["espeak-ng", *how, WORDS[take.digit]], check=True)
        rate, samples = wavfile.read(path)
    if rate != SYNTHESIZER_RATE:
        raise SystemExit(f"espeak-ng gave {rate} Hz; this script knows {SYNTHESIZER_RATE} Hz.")
    wave = resample_poly(samples.astype(np.float64), SAMPLE_RATE, SYNTHESIZER_RATE)
    loud = np.flatnonzero(np.abs(wave) > TRIM * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1]
    return wave / np.sqrt(np.mean(wave**2))


def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> NDArray[np.float64]:
    """Return triangular filters (n_mels, n_fft // 2 + 1) on the HTK mel scale, peaks of 1.

    They overlap by half, so that between the first and the last peak they add up to 1: the sum
    over mels of a mel power is the power of the sound.
    """
    top_mel = 2595 * np.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top_mel, n_mels + 2) / 2595) - 1)
    low, peak, high = (corners[i : i + n_mels, None] for i in range(3))
    hertz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    return np.maximum(np.minimum((hertz - low) / (peak - low), (high - hertz) / (high - peak)), 0)


def mel_power(wave: NDArray[np.float64], bank: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mel power (n_mels, FRAMES) of the wave's beginning, padded with silence.

    Frame k is centered on sample k * HOP and seen through a Hann window of N_FFT samples.
    """
    window = hann(N_FFT, sym=False)
    transform = ShortTimeFFT(window, HOP, SAMPLE_RATE, mfft=N_FFT, scale_to=None)
    samples = HOP * FRAMES
    padded = np.zeros(samples)
    padded[: len(wave)] = wave[:samples]
    return bank @ transform.spectrogram(padded, p0=0, p1=FRAMES)


def sounding_frames(samples: int) -> int:
    """Return how many frames are centered on the sound and not on the padding after it."""
    return min(-(-samples // HOP), FRAMES)


def white_noise(bank: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean, and the squared mean over the variance, of white noise's mel power.

    For gaussian noise of power 1 the bins' powers have the mean sum(w^2) and the covariance
    |DFT(w^2)|^2 at the bins' difference (w: the window), but for the edge bins 0 and N_FFT / 2.
    """
    window = hann(N_FFT, sym=False) ** 2
    bins = np.arange(bank.shape[1])
    covariance = np.abs(np.fft.fft(window))[np.abs(bins[:, None] - bins)] ** 2
    mean = window.sum() * bank.sum(axis=1)
    return mean, mean**2 / np.einsum("mj,jk,mk->m", bank, covariance, bank)


def quantized(log_mel: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the decibels in steps of `STEP_DB` above `FLOOR_DB`."""
    return np.clip(np.rint((log_mel - FLOOR_DB) / STEP_DB), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
