"""What is done to a pair: sounds become log-mel, noise is added, energy is taken away.

Numpy arrays go in and come out. Every function that fits something to data says so in its name
or takes what was fitted as an argument, so that nothing of the test split leaks into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import MissingPackageError

Array = NDArray[Any]
"""Floats, in the precision that the caller chose."""

FLOOR_DB = -16.0
"""Mel powers below this count as silence: for waves of mean power 1 seen through a Hann window of
256 samples, which is what both data sets use, some 60 dB below the loudest band of a voice."""


def decibel(power: Array) -> Array:
    """Return 10 log10 of a power, with everything below `FLOOR_DB` raised to it.

    Args:
        power: mel power of any shape, zero or above.

    Returns:
        The same shape, in dB.

    Example:
        >>> decibel(np.array([0.0, 1.0, 100.0]))
        array([-16.,   0.,  20.])
    """
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


def white_mel_noise(
    shape: tuple[int, int, int], mean: Array, freedom: Array, rng: np.random.Generator
) -> Array:
    """Draw the mel power that white gaussian noise has, without making the noise.

    The power of one mel band is a weighted sum of squared gaussians, which a gamma distribution
    with the same mean and variance describes. Frames are drawn independently.

    Args:
        shape: (clips, mels, frames).
        mean: (mels,) mean power of each band.
        freedom: (mels,) squared mean over variance of each band: the gamma's shape parameter.
        rng: where the random numbers come from.

    Returns:
        (clips, mels, frames), scaled so that the mean over frames of the power summed over mels
        is exactly 1 for every clip.
    """
    power = rng.standard_gamma(freedom[:, None], shape, dtype=np.float64)
    power *= (mean / freedom)[:, None]
    return power / power.sum(axis=1, keepdims=True).mean(axis=2, keepdims=True)


def noisy_mel(power: Array, sounding: NDArray[np.integer], noise: Array, snr_db: float) -> Array:
    """Add noise to mel powers at a given signal-to-noise ratio.

    Signal and noise are taken as uncorrelated, so that their powers add. The ratio compares the
    mean power of the clip's sounding frames with the mean power of the noise; the frames that
    only pad the clip get noise as well, so that its length is no longer given away.

    Args:
        power: (clips, mels, frames) of the sounds.
        sounding: (clips,) how many frames, from the first on, are sound and not padding.
        noise: (clips, mels, frames) with unit power, as `white_mel_noise` gives.
        snr_db: signal-to-noise ratio in dB.

    Returns:
        (clips, mels, frames) power of the mixture.

    Example:
        >>> noisy_mel(np.full((1, 1, 2), 4.0), np.array([2]), np.ones((1, 1, 2)), 0.0)
        array([[[8., 8.]]])
    """
    is_sound = np.arange(power.shape[2]) < sounding[:, None]
    signal = (power.sum(axis=1) * is_sound).sum(axis=1) / sounding
    return power + noise * (signal / 10 ** (snr_db / 10))[:, None, None]


def unit_power(waves: Array, lengths: NDArray[np.integer] | None = None) -> Array:
    """Scale waves to a mean power of 1.

    Args:
        waves: (clips, samples), zero after each clip's length.
        lengths: (clips,) samples over which the mean is taken; all of them if not given.

    Returns:
        The same shape and dtype; a silent wave stays silent.
    """
    count = waves.shape[1] if lengths is None else lengths
    power = np.square(waves).sum(axis=1) / count
    level = np.sqrt(np.where(power > 0, power, 1)).astype(waves.dtype)
    return waves / level[:, None]


def noisy_wave(waves: Array, noise: Array, snr_db: float) -> Array:
    """Mix waves of unit power with noise of unit power at a signal-to-noise ratio in dB.

    Args:
        waves: (clips, samples) from `unit_power` with the clips' lengths.
        noise: (clips, samples) from `unit_power`.
        snr_db: mean power of the clip over its length against that of the noise over all
            samples, in dB.

    Returns:
        (clips, samples).

    Example:
        >>> noisy_wave(np.ones((1, 2)), np.ones((1, 2)), -20.0)
        array([[11., 11.]])
    """
    return waves + noise * waves.dtype.type(10 ** (-snr_db / 20))


def log_mel(
    waves: Array, *, sample_rate: int, n_fft: int, hop: int, n_mels: int, batch: int = 512
) -> Array:
    """Return the log-mel spectrogram of waves, in dB, by torchaudio.

    Args:
        waves: (clips, samples) float32.
        sample_rate: in Hz.
        n_fft: samples of one Hann window.
        hop: samples from one frame to the next; frames are centered on multiples of it.
        n_mels: triangular filters on the HTK mel scale, from 0 Hz to half the sample rate.
        batch: clips computed at a time; bounds the memory, not the result.

    Returns:
        (clips, n_mels, samples // hop + 1), not below `FLOOR_DB`.

    Raises:
        MissingPackageError: torchaudio is not installed.
    """
    try:
        from torchaudio.transforms import MelSpectrogram
    except ImportError as error:
        raise needs_audio_extra("torchaudio") from error
    to_mel = MelSpectrogram(
        sample_rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, pad_mode="constant"
    )
    chunks = torch.from_numpy(waves).split(batch)
    return decibel(torch.cat([to_mel(chunk) for chunk in chunks]).numpy())


def needs_audio_extra(package: str) -> MissingPackageError:
    """Word the complaint about a package of the extra `audio` that is not installed."""
    return MissingPackageError(
        f'{package} is not installed, and sounds need it. Run: pip install "imbalance-lens[audio]"'
    )


@dataclass(frozen=True)
class Standard:
    """The scale that gives the data it was fitted to a mean of 0 and a deviation of 1."""

    mean: float
    deviation: float

    @classmethod
    def fitted(cls, values: Array) -> Standard:
        """Return the scale of all values together."""
        return cls(float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)))

    def __call__(self, values: Array) -> NDArray[np.float32]:
        """Return the values on that scale."""
        return ((values - self.mean) / self.deviation).astype(np.float32)


@dataclass(frozen=True)
class Projection:
    """The principal components that hold a share of the variance of what they were fitted to."""

    mean: Array
    components: Array

    @classmethod
    def fitted(cls, images: Array, energy: float) -> Projection:
        """Fit the fewest components that hold more than `energy` of the variance.

        Args:
            images: (images, pixels) of the training split.
            energy: share of the variance, between 0 and 1.
        """
        from sklearn.decomposition import PCA

        pca = PCA(energy, svd_solver="covariance_eigh").fit(images)
        return cls(np.asarray(pca.mean_), np.asarray(pca.components_))

    def __call__(self, images: Array) -> Array:
        """Return what the components keep of the images, again as pixels."""
        return self.mean + (images - self.mean) @ self.components.T @ self.components
