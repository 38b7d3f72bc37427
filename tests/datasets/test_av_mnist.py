"""AV-MNIST on the real recordings and images, where they are."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from imbalance_lens.datasets import AVMNIST, _esc10, _fsdd, _mnist
from imbalance_lens.datasets.transforms import noisy_wave, unit_power
from tests.data_folder import FOLDER, require

pytest.importorskip("torchaudio")


@pytest.fixture(scope="module")
def root():
    require("mnist")
    require("fsdd")
    return FOLDER


@pytest.fixture(scope="module")
def pairs(root) -> dict[str, AVMNIST]:
    return {split: AVMNIST(split, root=root) for split in ("train", "test")}


def test_every_recording_is_there_once_with_an_image_of_its_own(pairs):
    assert {split: len(held) for split, held in pairs.items()} == {"train": 2700, "test": 300}
    sounds = torch.cat([held.sound_ids for held in pairs.values()])
    images = torch.cat([held.image_ids for held in pairs.values()])
    assert sounds.unique().numel() == images.unique().numel() == 3000


def test_an_item_is_inputs_by_modality_and_a_label(pairs):
    inputs, labels = next(iter(DataLoader(pairs["test"], batch_size=7)))
    shapes = {modality: tuple(x.shape) for modality, x in inputs.items()}
    assert shapes == {"audio": (7, 1, 40, 64), "visual": (7, 1, 28, 28)}
    assert {x.dtype for x in inputs.values()} == {torch.float32}
    assert labels.dtype == torch.int64


def test_recording_and_image_show_the_digit_of_the_label(pairs, root):
    paths = sorted((root / "fsdd" / "recordings").glob("*.wav"))
    shown = _mnist.read_idx(root / "mnist" / "t10k-labels-idx1-ubyte.gz", 1)
    if _mnist.has_training_images(root):
        pytest.skip("the training images of MNIST are there too")
    for held in pairs.values():
        said = [int(paths[i].name[0]) for i in held.sound_ids]
        assert said == held.labels.tolist() == shown[held.image_ids].tolist()


def test_the_official_split_tests_on_takes_0_to_4(pairs, root):
    paths = sorted((root / "fsdd" / "recordings").glob("*.wav"))
    takes = {
        split: {int(paths[i].stem.rpartition("_")[2]) for i in held.sound_ids}
        for split, held in pairs.items()
    }
    assert takes == {"train": set(range(5, 50)), "test": set(range(5))}
    assert set(pairs["train"].speakers) == set(pairs["test"].speakers)


def test_disjoint_speakers_are_disjoint(root):
    train, test = (AVMNIST(split, root=root, speakers="disjoint") for split in ("train", "test"))
    assert (len(train), len(test)) == (2000, 1000)
    assert not set(train.speakers) & set(test.speakers)
    assert not set(train.image_ids.tolist()) & set(test.image_ids.tolist())


def test_the_training_split_has_mean_0_and_deviation_1(pairs):
    for inputs in (pairs["train"].audio, pairs["train"].visual):
        assert inputs.mean().item() == pytest.approx(0, abs=1e-4)
        assert inputs.std().item() == pytest.approx(1, abs=1e-4)


def test_images_are_projected_as_the_training_split_says(pairs, root):
    """The twin: eigenvectors of the covariance of the training images, in float64."""
    plain = {
        split: AVMNIST(split, root=root, visual_energy=None).visual.flatten(1).double().numpy()
        for split in ("train", "test")
    }
    mean = plain["train"].mean(axis=0)
    sizes, axes = np.linalg.eigh(np.cov(plain["train"].T))
    share = np.cumsum(sizes[::-1]) / sizes.sum()
    axes = axes[:, ::-1][:, : int(np.argmax(share > 0.25)) + 1]
    by_hand = {s: mean + (x - mean) @ axes @ axes.T for s, x in plain.items()}
    middle, deviation = by_hand["train"].mean(), by_hand["train"].std()
    for split, held in pairs.items():
        wanted = (by_hand[split] - middle) / deviation
        np.testing.assert_allclose(held.visual.flatten(1).numpy(), wanted, atol=2e-3)


def test_the_seed_decides_pairs_and_noise_and_an_example_stays_the_same(root):
    one, same, other = (
        AVMNIST("test", root=root, audio_snr_db=0.0, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one.audio, same.audio)
    assert torch.equal(one.visual, same.visual)
    assert torch.equal(one.sound_ids, other.sound_ids)
    assert not torch.equal(one.image_ids, other.image_ids)
    assert not torch.equal(one.audio, other.audio)


def test_noise_leaves_the_images_alone(pairs, root):
    assert torch.equal(AVMNIST("test", root=root, audio_snr_db=0.0).visual, pairs["test"].visual)


def test_the_folder_may_come_from_the_environment(pairs, root, monkeypatch):
    monkeypatch.setenv("IMBALANCE_LENS_DATA", str(root))
    assert torch.equal(AVMNIST("test").audio, pairs["test"].audio)


@pytest.fixture(scope="module")
def stretches(root) -> np.ndarray:
    pytest.importorskip("soundfile")
    require("esc10")
    return _esc10.read_noise(root, "test", samples=8064, sample_rate=8000)


@pytest.mark.parametrize("snr_db", [-10.0, 5.0])
def test_recordings_are_mixed_at_the_ratio_that_was_asked_for(root, stretches, snr_db):
    recordings = _fsdd.find_recordings(root, "shared")
    waves, lengths = recordings.waves(recordings.of("test"), 8064)
    waves = unit_power(waves, lengths)
    noise = stretches[np.arange(len(waves)) % len(stretches)]
    added = (noisy_wave(waves, noise, snr_db) - waves).astype(np.float64)
    signal = np.square(waves.astype(np.float64)).sum(axis=1) / lengths
    met = 10 * np.log10(signal / np.square(added).mean(axis=1))
    np.testing.assert_allclose(met, snr_db, atol=0.01)


def test_everyday_sounds_make_other_noise_than_white_noise(root, stretches):
    everyday, white = (
        AVMNIST("test", root=root, audio_snr_db=-5.0, noise=noise) for noise in ("esc10", "white")
    )
    assert everyday.audio.isfinite().all()
    assert not torch.equal(everyday.audio, white.audio)
    assert torch.equal(everyday.visual, white.visual)
