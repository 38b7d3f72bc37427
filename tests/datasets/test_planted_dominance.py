"""The two parameters decide which modality tells more about the digit."""

import functools

import pytest

from imbalance_lens.datasets import AVDigits

from .small_models import linear_accuracy, network_accuracy


@functools.cache
def splits(audio_snr_db: float | None, visual_noise: float) -> tuple[AVDigits, AVDigits]:
    settings = {"audio_snr_db": audio_snr_db, "visual_noise": visual_noise}
    return AVDigits("train", **settings), AVDigits("test", **settings)


@functools.cache
def alone(modality: str, audio_snr_db: float | None, visual_noise: float) -> float:
    return linear_accuracy(*splits(audio_snr_db, visual_noise), modality)


def test_a_lower_ratio_makes_the_sounds_harder():
    clean, noisy, drowned = (alone("audio", snr, 0.0) for snr in (None, -5.0, -15.0))
    assert clean > 0.9
    assert clean > noisy + 0.1 > drowned + 0.3
    assert drowned > 0.2


def test_more_noise_makes_the_images_harder():
    clean, noisy, drowned = (alone("visual", None, noise) for noise in (0.0, 1.0, 3.0))
    assert clean > 0.8
    assert clean > noisy + 0.05 > drowned + 0.3
    assert drowned > 0.2


@pytest.mark.parametrize(
    ("stronger", "weaker", "settings"),
    [("audio", "visual", (None, 3.0)), ("visual", "audio", (-15.0, 0.0))],
)
def test_either_modality_can_be_planted_as_the_stronger(stronger, weaker, settings):
    assert alone(stronger, *settings) > alone(weaker, *settings) + 0.4


@pytest.mark.parametrize(
    ("dominant", "other", "settings"),
    [("audio", "visual", (None, 3.0)), ("visual", "audio", (-15.0, 0.0))],
)
def test_a_network_trained_on_both_leans_on_the_planted_modality(dominant, other, settings):
    modalities = ("audio", "visual")
    without = network_accuracy(*splits(*settings), modalities, epochs=6, seed=0)
    assert without[""] > 0.8
    assert without[other] > without[dominant] + 0.3
