"""Noise has the level that was asked for, and what is fitted is what a textbook says."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.datasets import transforms
from imbalance_lens.errors import MissingPackageError

from .make_script import load

SCRIPT = load()
BANK = SCRIPT.mel_filters(SCRIPT.SAMPLE_RATE, SCRIPT.N_FFT, SCRIPT.N_MELS)
MEAN, FREEDOM = SCRIPT.white_noise(BANK)
LONG = SCRIPT.HOP * SCRIPT.FRAMES


def mel_of_white_noise(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    waves = rng.standard_normal((count, LONG))
    return np.stack([SCRIPT.mel_power(wave, BANK) for wave in waves])[:, :, 2:-2]


def test_mel_filters_are_those_of_torchaudio():
    functional = pytest.importorskip("torchaudio.functional")
    theirs = functional.melscale_fbanks(
        SCRIPT.N_FFT // 2 + 1,
        0.0,
        SCRIPT.SAMPLE_RATE / 2,
        SCRIPT.N_MELS,
        SCRIPT.SAMPLE_RATE,
    )
    np.testing.assert_allclose(BANK, theirs.numpy().T, atol=1e-5)


def test_drawn_mel_noise_has_the_moments_of_real_white_noise():
    real = mel_of_white_noise(400)
    np.testing.assert_allclose(real.mean(axis=(0, 2)), MEAN, rtol=0.04)
    spread = real.var(axis=(0, 2))
    np.testing.assert_allclose(real.mean(axis=(0, 2)) ** 2 / spread, FREEDOM, rtol=0.15)

    drawn = transforms.white_mel_noise((400, 32, 28), MEAN, FREEDOM, np.random.default_rng(2))
    scaled = drawn * MEAN.sum()
    np.testing.assert_allclose(scaled.mean(axis=(0, 2)), real.mean(axis=(0, 2)), rtol=0.05)
    in_db, real_in_db = 10 * np.log10(scaled), 10 * np.log10(real)
    np.testing.assert_allclose(in_db.mean(axis=(0, 2)), real_in_db.mean(axis=(0, 2)), atol=0.3)
    # A gamma has a longer tail toward silence than the sum of gaussians that it stands for.
    np.testing.assert_allclose(in_db.std(axis=(0, 2)), real_in_db.std(axis=(0, 2)), atol=0.7)


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 10.0])
def test_noise_on_the_spectrogram_is_as_loud_as_noise_on_the_wave(snr_db):
    """A vowel-like wave is mixed with white noise before the spectrogram, and after it."""
    time = np.arange(LONG) / SCRIPT.SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 27))
    wave /= np.sqrt(np.mean(wave**2))
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((300, LONG)) * 10 ** (-snr_db / 20)
    on_wave = np.mean([SCRIPT.mel_power(wave + one, BANK) for one in noise], axis=0)

    clean = np.repeat(SCRIPT.mel_power(wave, BANK)[None], 300, axis=0)
    sounding = np.full(300, SCRIPT.FRAMES)
    mel_noise = transforms.white_mel_noise(clean.shape, MEAN, FREEDOM, rng)
    on_mel = transforms.noisy_mel(clean, sounding, mel_noise, snr_db).mean(axis=0)
    np.testing.assert_allclose(
        10 * np.log10(on_mel[:, 2:-2].mean(axis=1)),
        10 * np.log10(on_wave[:, 2:-2].mean(axis=1)),
        atol=0.4,
    )


@given(snr_db=st.floats(-30, 30), seed=st.integers(0, 1000))
def test_the_ratio_on_the_spectrogram_is_the_one_asked_for(snr_db, seed):
    rng = np.random.default_rng(seed)
    sounding = rng.integers(1, 9, size=5)
    power = rng.exponential(1, (5, 32, 8)) * (np.arange(8) < sounding[:, None])[:, None]
    noise = transforms.white_mel_noise(power.shape, MEAN, FREEDOM, rng)
    added = transforms.noisy_mel(power, sounding, noise, snr_db) - power
    signal = power.sum(axis=(1, 2)) / sounding
    met = 10 * np.log10(signal / added.sum(axis=1).mean(axis=1))
    np.testing.assert_allclose(met, snr_db, atol=1e-6)


@given(snr_db=st.floats(-30, 30), seed=st.integers(0, 1000))
def test_the_ratio_of_the_waves_is_the_one_asked_for(snr_db, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(50, 100, size=4)
    inside = np.arange(100) < lengths[:, None]
    waves = transforms.unit_power(5 * rng.standard_normal((4, 100)) * inside, lengths)
    noise = transforms.unit_power(rng.standard_normal((4, 100)))
    added = transforms.noisy_wave(waves, noise, snr_db) - waves
    signal = np.square(waves).sum(axis=1) / lengths
    met = 10 * np.log10(signal / np.square(added).mean(axis=1))
    np.testing.assert_allclose(met, snr_db, atol=1e-6)


def test_a_silent_wave_stays_silent():
    np.testing.assert_array_equal(transforms.unit_power(np.zeros((1, 4))), np.zeros((1, 4)))


def test_log_mel_agrees_with_the_one_made_by_scipy():
    pytest.importorskip("torchaudio")
    waves = np.random.default_rng(0).standard_normal((3, LONG)).astype(np.float32)
    theirs = transforms.log_mel(
        waves,
        sample_rate=SCRIPT.SAMPLE_RATE,
        n_fft=SCRIPT.N_FFT,
        hop=SCRIPT.HOP,
        n_mels=SCRIPT.N_MELS,
        batch=2,
    )
    ours = transforms.decibel(np.stack([SCRIPT.mel_power(wave, BANK) for wave in waves]))
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(theirs[:, :, :-1], ours, atol=1e-3)


def test_without_torchaudio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", None)
    with pytest.raises(MissingPackageError, match=r'pip install "imbalance-lens\[audio\]"'):
        transforms.log_mel(
            np.zeros((1, 256), np.float32), sample_rate=8000, n_fft=256, hop=128, n_mels=40
        )


@pytest.mark.parametrize("energy", [0.25, 0.6, 0.95])
def test_a_projection_keeps_the_fewest_components_that_hold_the_energy(energy):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((200, 12)) * np.arange(1, 13) + 5
    kept = transforms.Projection.fitted(images, energy)(images)

    centered = images - images.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    share = np.cumsum(sizes**2) / np.sum(sizes**2)
    count = int(np.argmax(share > energy)) + 1
    by_hand = images.mean(axis=0) + centered @ axes[:count].T @ axes[:count]
    np.testing.assert_allclose(kept, by_hand, atol=1e-8)


def test_a_scale_is_that_of_the_values_it_was_fitted_to():
    values = np.random.default_rng(0).normal(1e4, 3, (50, 7)).astype(np.float32)
    scaled = transforms.Standard.fitted(values)(values)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-3)
