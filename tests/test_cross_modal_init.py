import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import cross_modal_init as bench
from benchmarks.cross_modal_table import difference, show
from benchmarks.esc10_sounds import FRAMES, N_MELS, Sounds, augmented, read_sounds

from .data_folder import require
from .documents import REPOSITORY


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    return require(f"checkpoints/{bench.CHECKPOINT}")


def noise(clips: int = 10) -> Sounds:
    draw = np.random.default_rng(0)
    return Sounds(
        draw.normal(size=(clips, N_MELS, FRAMES)).astype(np.float32),
        torch.arange(clips) % 10,
        np.arange(clips) % 5 + 1,
    )


def test_the_clips_are_read_with_their_folds_and_classes():
    pytest.importorskip("torchaudio", reason="the extra `audio` is not installed")
    sounds = read_sounds(require("esc10"), every=8)
    assert sounds.decibels.shape == (50, N_MELS, FRAMES)
    assert sounds.labels.bincount().tolist() == [5] * 10
    assert np.bincount(sounds.folds).tolist() == [0, 10, 10, 10, 10, 10]


def test_the_test_fold_has_no_part_in_the_scale():
    sounds = noise()
    alone = sounds.split(1)["train"][0]
    sounds.decibels[sounds.folds == 1] += 100
    assert torch.equal(sounds.split(1)["train"][0], alone)
    assert alone.mean().abs() < 1e-5
    assert sounds.split(1)["test"][0].mean() > 50


def test_augmentation_turns_in_time_and_masks_stretches():
    images = torch.arange(1.0, 65).expand(6, 3, N_MELS, 64)
    changed = augmented(images, torch.Generator().manual_seed(0))
    assert torch.equal(changed[:, 0], changed[:, 2])
    for clip in changed[:, 0]:
        seen = clip[:, clip.any(0)]
        kept = seen[seen.any(1)]
        assert (kept == kept[0]).all()
        steps = kept[0].diff()
        assert set(steps.tolist()) <= {1.0, -63.0} | set(range(2, 10)) | set(range(-63, -54))
    assert torch.equal(changed, augmented(images, torch.Generator().manual_seed(0)))


def test_all_settings_begin_with_the_same_last_layer_and_differ_where_they_say(checkpoint: Path):
    made = {
        name: bench.start(name, checkpoint, seed=1) for name in (*bench.SETTINGS, *bench.BASELINES)
    }
    last = made["random"].linear.weight
    assert all(torch.equal(model.linear.weight, last) for model in made.values())
    loaded = made["checkpoint"]
    for name in ("checkpoint + ABRi", "checkpoint + naive", "checkpoint + full"):
        assert torch.equal(made[name].conv1.weight, loaded.conv1.weight)
    assert not torch.equal(made["random"].conv1.weight, loaded.conv1.weight)
    mixed = (loaded.bn1.weight + 1) / 2
    torch.testing.assert_close(made["checkpoint + ABRi"].bn1.weight, mixed)
    assert torch.equal(made["checkpoint + full"].bn1.weight, torch.ones(16))
    small = loaded.bn1.weight.abs() < bench.NAIVE_BELOW
    expected = loaded.bn1.weight.masked_fill(small, 1)
    assert torch.equal(made["checkpoint + naive"].bn1.weight, expected)


def test_a_run_trains_and_counts_channels_before_and_after(checkpoint: Path):
    settings = ("checkpoint", "checkpoint + ABRi")
    found = [bench.run(name, 1, noise(), checkpoint, epochs=1) for name in settings]
    plain, adapted = (row["channels"] for row in found)
    assert plain["before"]["channels"] == adapted["after"]["channels"] == 2032
    assert plain["before"]["abnormal"] == {"0.01": 61, "0.001": 35}
    assert adapted["before"]["abnormal"] == {"0.01": 0, "0.001": 0}
    assert plain["before"]["dead_behind_batchnorm"] > 40
    assert adapted["before"]["dead_all"] == 0
    assert all(len(row["right"]) == 2 and len(row["losses"]) == 1 for row in found)
    table = show([*found, *({**row, "fold": 2} for row in found)], bench.THRESHOLDS)
    assert table["channels"]["checkpoint"]["abnormal at 0.01"]["before"] == 61 / 2032
    assert list(table["differences"]) == ["checkpoint + ABRi - checkpoint"]


def test_a_finished_run_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = []

    def run(setting: str, fold: int, *_: object) -> dict:
        done.append((setting, fold))
        return {"accuracy": 0.5, "fold": fold}

    monkeypatch.setattr(bench, "run", run)
    for _ in range(2):
        rows = list(bench.runs(["random"], noise(), tmp_path, tmp_path / "runs"))
        assert [row["fold"] for row in rows] == [1, 2, 3, 4, 5]
    assert len(done) == 5


def test_the_difference_counts_clips_that_only_one_gets_right():
    first = [{"accuracy": 0.5, "right": [1, 0]}, {"accuracy": 0.5, "right": [1, 0]}]
    second = [{"accuracy": 1.0, "right": [1, 1]}, {"accuracy": 0.5, "right": [0, 1]}]
    gap = difference(first, second)
    assert gap["mean"] == 0.25
    assert (gap["gained"], gap["lost"]) == (2, 1)
    assert gap["p_value_of_clips"] == 1.0
    assert difference(first, first)["p_value"] == 1.0


def test_the_page_has_the_accuracies_that_were_measured():
    file = REPOSITORY / "benchmarks/results/cross_modal_init.json"
    measured = json.loads(file.read_text())["results"]["runs"]
    page = (REPOSITORY / "docs/recipes/abri.md").read_text()
    told = {
        "random": "random initialization",
        "checkpoint": "checkpoint",
        "checkpoint + ABRi": "checkpoint and ABRi",
        "checkpoint + naive": "checkpoint, naive",
    }
    for setting, label in told.items():
        (row,) = re.findall(rf"^\| {label} \|(.+)\| [\d.]+ ± [\d.]+ \|$", page, re.M)
        shown = [float(cell) / 100 for cell in row.split("|")]
        found = [run["accuracy"] for run in measured if run["setting"] == setting]
        assert shown == pytest.approx(found, abs=0.00051)
