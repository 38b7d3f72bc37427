from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

import recipes
from benchmarks import av_mnist_recipes as bench
from imbalance_lens.datasets import AVDigits

from .documents import REPOSITORY, blocks


def test_all_recipes_for_late_fusion_are_compared_and_two_of_them_together():
    assert set(bench.what()) == {*recipes.names(), bench.TOGETHER}.difference(bench.LEFT_OUT)
    assert next(iter(bench.what())) == "none"


def indices(data: Dataset) -> list[int]:
    assert isinstance(data, Subset)
    return list(data.indices)


def test_held_out_pairs_are_no_training_pairs_and_differ_between_seeds():
    numbers = TensorDataset(torch.arange(bench.LEARNED + bench.HELD_OUT + 40))
    parts = [bench.loaders(numbers, TensorDataset(torch.zeros(1)), seed) for seed in (0, 0, 1)]
    first, again, other = (
        {part: set(indices(loaders[part].dataset)) for part in ("train", "val")}
        for loaders in parts
    )
    assert first == again
    assert first["val"] != other["val"]
    assert (len(first["train"]), len(first["val"])) == (bench.LEARNED, bench.HELD_OUT)
    assert not first["train"] & first["val"]


def test_a_comparison_runs_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def few(part: Any, root: Path, **difficulty: float) -> Subset:
        assert root == Path("data")
        assert difficulty == bench.DIFFICULTY
        return Subset(AVDigits(part), range(80))

    monkeypatch.setattr(bench, "AVMNIST", few)
    monkeypatch.setattr(bench, "LEARNED", 60)
    monkeypatch.setattr(bench, "HELD_OUT", 20)
    rows = {"none": "none", "abri": "abri", "olm": "olm"}
    chosen = {"rows": rows, "seeds": 1, "epochs": 1, "flops": False, "progress": False}
    found = bench.compared(Path("data"), tmp_path / "runs", **chosen)
    assert not found.failures
    assert found.dataset["value"].sel(metric="accuracy").notnull().all()
    assert len(list((tmp_path / "runs").iterdir())) == len(rows)
    again = bench.compared(Path("data"), tmp_path / "runs", **chosen)
    assert again.dataset.identical(found.dataset)


def test_the_page_shows_the_table_that_was_measured():
    measured = (REPOSITORY / "benchmarks/results/av_mnist_recipes.txt").read_text()
    assert measured in [block.text for block in blocks("docs/comparing.md")]
