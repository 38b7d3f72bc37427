"""The bundled digits: what is in them, that splits are apart, that noise is what was asked for."""

import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

from imbalance_lens.datasets import AVDigits, av_digits
from imbalance_lens.datasets._pairing import generator
from imbalance_lens.errors import SettingError

SPLITS = {"train": (1800, 36), "val": (600, 12), "test": (600, 12)}
BUNDLED = files("imbalance_lens.datasets") / "av_digits.npz"


@pytest.fixture(scope="module")
def clean() -> dict[str, AVDigits]:
    return {split: AVDigits(split) for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_an_item_is_inputs_by_modality_and_a_label(clean, split):
    digits = clean[split]
    inputs, label = digits[3]
    pairs, voices = SPLITS[split]
    assert len(digits) == pairs
    assert len(set(digits.speakers)) == voices
    assert type(label) is int
    assert {m: (tuple(x.shape), x.dtype) for m, x in inputs.items()} == {
        "audio": ((1, 32, 32), torch.float32),
        "visual": ((1, 8, 8), torch.float32),
    }


def test_the_default_collate_makes_a_batch_for_our_loaders(clean):
    inputs, labels = next(iter(DataLoader(clean["val"], batch_size=5)))
    assert list(inputs) == ["audio", "visual"]
    assert inputs["audio"].shape == (5, 1, 32, 32)
    assert labels.dtype == torch.int64


def test_iterating_ends(clean):
    assert sum(1 for _ in clean["val"]) == len(clean["val"])


@pytest.mark.parametrize("split", SPLITS)
def test_sound_and_image_show_the_digit_of_the_label(clean, split):
    digits = clean[split]
    np.testing.assert_array_equal(load_digits().target[digits.image_ids], digits.labels)
    with BUNDLED.open("rb") as file, np.load(file) as made:
        np.testing.assert_array_equal(made["digit"][digits.sound_ids], digits.labels)
    assert torch.bincount(digits.labels).tolist() == [len(digits) // 10] * 10


def test_clean_images_are_those_of_scikit_learn_on_another_scale(clean):
    for digits in clean.values():
        theirs = load_digits().images[digits.image_ids].ravel()
        line = np.corrcoef(theirs, digits.visual.numpy().ravel())[0, 1]
        assert line == pytest.approx(1, abs=1e-6)


def test_clean_sounds_are_the_bundled_ones_on_another_scale(clean):
    with BUNDLED.open("rb") as file, np.load(file) as made:
        for digits in clean.values():
            theirs = made["log_mel"][digits.sound_ids].ravel()
            line = np.corrcoef(theirs, digits.audio.numpy().ravel())[0, 1]
            assert line == pytest.approx(1, abs=1e-6)


def test_splits_share_neither_voice_nor_image_nor_sound(clean):
    for what in ("speakers", "image_ids", "sound_ids"):
        held = [set(np.asarray(getattr(digits, what)).tolist()) for digits in clean.values()]
        assert sum(map(len, held)) == len(set.union(*held))
    assert sum(len(digits) for digits in clean.values()) == 3000


@pytest.mark.parametrize("split", SPLITS)
def test_an_image_serves_one_or_two_sounds(clean, split):
    uses = torch.bincount(clean[split].image_ids)
    assert set(uses[uses > 0].tolist()) == {1, 2}
    assert uses[uses > 0].double().mean() == pytest.approx(1.67, abs=0.01)


def test_an_example_is_the_same_in_every_instance_and_worker():
    settings = {"audio_snr_db": 0.0, "visual_noise": 1.0, "seed": 3}
    one, other = AVDigits("val", **settings), AVDigits("val", **settings)
    in_workers = DataLoader(other, batch_size=150, num_workers=2)
    for name in ("audio", "visual"):
        from_workers = torch.cat([inputs[name] for inputs, _ in in_workers])
        assert torch.equal(getattr(one, name), from_workers)


def test_the_seed_decides_pairs_and_noise_and_not_the_splits(clean):
    other = AVDigits("val", seed=1)
    assert torch.equal(other.sound_ids, clean["val"].sound_ids)
    assert torch.equal(other.audio, clean["val"].audio)
    assert set(other.image_ids.tolist()) == set(clean["val"].image_ids.tolist())
    assert not torch.equal(other.image_ids, clean["val"].image_ids)
    noisy = [AVDigits("val", audio_snr_db=0.0, seed=seed).audio for seed in (0, 1)]
    assert not torch.equal(*noisy)


def test_one_modality_is_as_before_when_the_other_gets_noise(clean):
    deaf, blind = AVDigits("val", audio_snr_db=-10.0), AVDigits("val", visual_noise=2.0)
    assert torch.equal(deaf.visual, clean["val"].visual)
    assert torch.equal(blind.audio, clean["val"].audio)


def test_making_the_set_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    AVDigits("val", audio_snr_db=0.0, visual_noise=1.0)
    after = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


@pytest.mark.parametrize(("snr_db", "noise"), [(None, 0.0), (-10.0, 0.0), (5.0, 3.0)])
def test_the_training_split_has_mean_0_and_deviation_1(snr_db, noise):
    digits = AVDigits("train", audio_snr_db=snr_db, visual_noise=noise)
    for inputs in (digits.audio, digits.visual):
        assert inputs.mean().item() == pytest.approx(0, abs=1e-4)
        assert inputs.std().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("snr_db", [-15.0, 0.0, 10.0])
def test_the_sounds_have_the_ratio_that_was_asked_for(snr_db):
    sounds = av_digits._Sounds.load()
    ids = sounds.of("test")
    clean, noisy = (
        10 ** (sounds.log_mel("test", snr, generator(0, "test", "audio noise")) / 10)
        for snr in (None, snr_db)
    )
    sounding = sounds.sounding[ids]
    is_sound = np.arange(32) < sounding[:, None]
    signal = (clean.sum(axis=1) * is_sound).sum(axis=1) / sounding
    met = 10 * np.log10(signal / (noisy - clean).sum(axis=1).mean(axis=1))
    np.testing.assert_allclose(met, snr_db, atol=0.01)


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_the_images_have_the_noise_that_was_asked_for(clean, noise):
    """On a scale where clean plus noise has deviation 1, the clean part has 1/sqrt(1+noise^2)."""
    noisy = AVDigits("train", visual_noise=noise).visual
    shrunk = (noisy * clean["train"].visual).mean()
    assert shrunk.item() == pytest.approx((1 + noise**2) ** -0.5, abs=0.01)


def test_the_bundled_file_is_small_and_says_where_it_comes_from():
    with BUNDLED.open("rb") as file:
        assert len(file.read()) < 3e6
        file.seek(0)
        with np.load(file) as made:
            assert "Apache-2.0" in str(made["license"])
            assert "espeak-ng" in str(made["license"])
            settings = {name: made[name].item() for name in ("sample_rate", "n_fft", "hop")}
            assert made["log_mel"].dtype == np.uint8
            assert made["log_mel"].shape == (3000, made["n_mels"], 32)
    assert settings == {"sample_rate": 8000, "n_fft": 256, "hop": 160}


def test_provenance_and_license_are_in_the_docstring():
    told = " ".join((av_digits.__doc__ or "").split())
    for words in ("CC BY 4.0", "load_digits", "espeak-ng", "GPL", "Apache-2.0"):
        assert words in told


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"split": "valid"}, "split='valid' is not known. Choose one of: 'train', 'val', 'test'"),
        ({"audio_snr_db": float("nan")}, "audio_snr_db must lie between -100 and 100 decibels"),
        ({"audio_snr_db": float("-inf")}, "or be None for no noise; got -inf"),
        ({"visual_noise": -0.1}, "visual_noise must be a finite number, 0 or above; got -0.1"),
        ({"visual_noise": float("nan")}, "visual_noise must be a finite number"),
        ({"seed": -1}, "seed must be a whole number, 0 or above; got -1"),
        ({"seed": 0.5}, "seed must be a whole number, 0 or above; got 0.5"),
    ],
)
def test_a_bad_argument_is_named(arguments, complaint):
    with pytest.raises(SettingError, match=complaint):
        AVDigits(**arguments)


def test_a_numpy_seed_will_do(clean):
    assert torch.equal(AVDigits("val", seed=np.int64(0)).image_ids, clean["val"].image_ids)


def test_importing_the_sets_imports_nothing_heavy():
    check = (
        "import sys, imbalance_lens.datasets; "
        "print(*{'torchaudio', 'torchvision', 'sklearn', 'scipy', 'soundfile'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
