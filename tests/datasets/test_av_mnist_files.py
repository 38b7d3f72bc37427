"""What a folder may look like, and what is said about one that cannot be used."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from imbalance_lens.datasets import AVMNIST, _esc10
from imbalance_lens.errors import DataError, MissingPackageError, SettingError

from . import stand_in

pytest.importorskip("torchaudio")

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return stand_in.write_all(tmp_path)


def recording(root: Path) -> Path:
    return root / "fsdd" / "recordings" / "3_bob_5.wav"


def test_a_small_folder_in_the_layout_will_do(root):
    train, test = AVMNIST("train", root=root), AVMNIST("test", root=str(root))
    assert (len(train), len(test)) == (60, 150)
    assert not set(train.image_ids.tolist()) & set(test.image_ids.tolist())


def test_training_images_are_used_where_they_are_and_torchvisions_layout_is_known(root):
    stand_in.write_images(root / "MNIST" / "raw", "train", 500, ending="")
    train, test = AVMNIST("train", root=root), AVMNIST("test", root=root)
    assert train.image_ids.max() < 500 <= test.image_ids.min()


def test_a_short_recording_is_followed_by_silence_and_a_long_one_is_cut(root):
    stand_in.write_wave(recording(root), np.full(20_000, 500))
    held = AVMNIST("train", root=root)
    row = held.labels.tolist().index(3) + 2  # after ann's takes 5 and 6
    assert held.speakers[row] == "bob"
    silence = held.audio.min()
    assert (held.audio[row, 0, :, -1] > silence).any()
    assert (held.audio[row + 1, 0, :, -1] == silence).all()


def damage_wave(root: Path) -> str:
    path = recording(root)
    path.write_bytes(path.read_bytes()[:501])
    return r"3_bob_5.wav cannot be used: its header promises 1000 samples and 228 follow\. Put a"


def damage_wave_header(root: Path) -> str:
    recording(root).write_bytes(b"RIFF")
    return r"3_bob_5.wav cannot be used: it is no readable wav file \(it ends inside its header\)"


def replace_wave_by_text(root: Path) -> str:
    recording(root).write_text("version https://git-lfs.github.com/spec/v1, and so on")
    return r"3_bob_5.wav cannot be used: it is no readable wav file \(file does not start with RIFF"


def change_rate(root: Path) -> str:
    stand_in.write_wave(recording(root), np.zeros(800), rate=16_000)
    return "it has 1 x 16 bits at 16000 Hz, and 1 x 16 bits at 8000 Hz is needed"


def make_stereo(root: Path) -> str:
    stand_in.write_wave(recording(root), np.zeros(800), channels=2)
    return "it has 2 x 16 bits at 8000 Hz"


def empty_wave(root: Path) -> str:
    stand_in.write_wave(recording(root), np.zeros(0))
    return "3_bob_5.wav cannot be used: its header promises 0 samples"


def lose_a_recording(root: Path) -> str:
    recording(root).unlink()
    return r"recordings cannot be used: 3_bob_5.wav is missing\. Put a sound copy"


def lose_several_recordings(root: Path) -> str:
    for path in root.glob("fsdd/recordings/4_*_2.wav"):
        path.unlink()
    return "recordings cannot be used: 4_ann_2.wav is missing, and 2 more"


def misname_a_recording(root: Path) -> str:
    recording(root).rename(recording(root).with_name("three-bob.wav"))
    return "three-bob.wav cannot be used: its name is not {digit}_{speaker}_{take}.wav"


def lose_the_recordings(root: Path) -> str:
    (root / "fsdd").rename(root / "elsewhere")
    return r"recordings/\*.wav does not exist; the Free Spoken Digit Dataset should be there"


def keep_only_test_takes(root: Path) -> str:
    for path in root.glob("fsdd/recordings/*_[56].wav"):
        path.unlink()
    return "speakers='shared' leaves a split empty: .* holds takes 0 to 4 of 3 speakers"


def lose_the_images(root: Path) -> str:
    (root / "mnist").rename(root / "elsewhere")
    return f"mnist/{IMAGES}.gz does not exist; {IMAGES} of MNIST should be there"


def lose_the_labels(root: Path) -> str:
    (root / "mnist" / f"{LABELS}.gz").unlink()
    return f"mnist/{LABELS}.gz does not exist"


def swap_the_files(root: Path) -> str:
    path = root / "mnist" / f"{IMAGES}.gz"
    path.write_bytes((root / "mnist" / f"{LABELS}.gz").read_bytes())
    return f"{IMAGES}.gz cannot be used: it begins with the number 2049, and 2051 marks such"


def cut_the_gzip(root: Path) -> str:
    path = root / "mnist" / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-100])
    return f"{IMAGES}.gz cannot be used: Compressed file ended"


def replace_gzip_by_text(root: Path) -> str:
    (root / "mnist" / f"{IMAGES}.gz").write_text("<html>not found</html>")
    return f"{IMAGES}.gz cannot be used: Not a gzipped file"


def cut_before_zipping(root: Path) -> str:
    path = root / "mnist" / f"{IMAGES}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    return r"its header promises \[400, 28, 28\] bytes and 313599 follow"


def keep_ten_bytes(root: Path) -> str:
    (root / "mnist" / f"{IMAGES}.gz").write_bytes(gzip.compress(b"0123456789"))
    return "it has 10 bytes, and an idx header alone has 16"


def lose_some_labels(root: Path) -> str:
    stand_in.write_idx(root / "mnist" / f"{LABELS}.gz", np.arange(399) % 10)
    return f"{LABELS}.gz cannot be used: it has 399 labels for 400 images"


DAMAGES = [
    damage_wave,
    damage_wave_header,
    replace_wave_by_text,
    change_rate,
    make_stereo,
    empty_wave,
    lose_a_recording,
    lose_several_recordings,
    misname_a_recording,
    lose_the_recordings,
    keep_only_test_takes,
    lose_the_images,
    lose_the_labels,
    swap_the_files,
    cut_the_gzip,
    replace_gzip_by_text,
    cut_before_zipping,
    keep_ten_bytes,
    lose_some_labels,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_an_unusable_file_is_named(root, damage):
    with pytest.raises(DataError, match=damage(root)):
        AVMNIST("train", root=root)


def test_one_speaker_cannot_be_split_by_speaker(root):
    for path in root.glob("fsdd/recordings/*_[bc]*_*.wav"):
        path.unlink()
    with pytest.raises(DataError, match=r"leaves a split empty: .* takes 0 to 6 of 1 speakers"):
        AVMNIST("train", root=root, speakers="disjoint")


def test_without_a_folder_both_ways_to_give_one_are_named(monkeypatch):
    monkeypatch.delenv("IMBALANCE_LENS_DATA", raising=False)
    with pytest.raises(DataError, match=r"Pass root=... or set .* IMBALANCE_LENS_DATA"):
        AVMNIST()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"split": "val"}, "split='val' is not known. Choose one of: 'train', 'test'"),
        ({"noise": "pink"}, "noise='pink' is not known. Choose one of: 'white', 'esc10'"),
        ({"speakers": "all"}, "Choose one of: 'shared', 'disjoint'"),
        ({"visual_energy": 1.0}, "visual_energy must lie between 0 and 1"),
        ({"audio_snr_db": float("inf")}, "audio_snr_db must lie between -100 and 100 decibels"),
        ({"seed": -3}, "seed must be a whole number"),
        ({"noise": "esc10"}, "adds nothing without a level. Give audio_snr_db too"),
    ],
)
def test_a_bad_argument_is_named_before_a_file_is_read(arguments, complaint):
    with pytest.raises(SettingError, match=complaint):
        AVMNIST(root="no such folder", **arguments)


def test_missing_noise_is_named(root):
    with pytest.raises(DataError, match="clips of ESC-10 for the train split should be there"):
        AVMNIST("train", root=root, audio_snr_db=0.0, noise="esc10")


def test_silent_stretches_are_no_noise(root):
    pytest.importorskip("soundfile")
    stand_in.write_clips(root / "esc10")
    stretches = _esc10.read_noise(root, "train", samples=8000, sample_rate=8000)
    assert len(stretches) == 1 + 3 * 3
    np.testing.assert_allclose(np.square(stretches).mean(axis=1), 1, rtol=1e-5)


def test_the_test_split_hears_other_clips(root):
    pytest.importorskip("soundfile")
    stand_in.write_clips(root / "esc10")
    train, test = (
        _esc10.read_noise(root, split, samples=8000, sample_rate=8000)
        for split in ("train", "test")
    )
    assert len(test) == 3
    assert not {row.tobytes() for row in train} & {row.tobytes() for row in test}


def test_clips_that_are_too_short_are_told(root):
    pytest.importorskip("soundfile")
    stand_in.write_clips(root / "esc10", seconds=0.5)
    with pytest.raises(DataError, match="no clip for the train split holds 8064 samples"):
        AVMNIST("train", root=root, audio_snr_db=0.0, noise="esc10")


def test_a_damaged_clip_is_named(root):
    pytest.importorskip("soundfile")
    stand_in.write_clips(root / "esc10")
    clip = next(root.glob("esc10/*/2-*.ogg"))
    clip.write_bytes(b"no sound")
    with pytest.raises(DataError, match=f"{clip.name} cannot be used: it is no readable ogg"):
        AVMNIST("train", root=root, audio_snr_db=0.0, noise="esc10")


def test_without_soundfile_the_extra_is_named(root, monkeypatch):
    pytest.importorskip("soundfile")
    stand_in.write_clips(root / "esc10")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingPackageError, match=r"soundfile is not installed.*\[audio\]"):
        AVMNIST("train", root=root, audio_snr_db=0.0, noise="esc10")
