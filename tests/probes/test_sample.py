"""A sample keeps few rows, each by the same chance."""

import numpy as np
import pytest
import torch

from imbalance_lens.probes._sample import Sample


def kept(most: int, *counts: int, seed: int = 0) -> np.ndarray:
    """Return which of numbered rows stay, when they come in batches of some sizes."""
    sample = Sample(most, seed)
    for rows in torch.arange(sum(counts)).split(counts):
        sample.append(row=rows.clone())
    return sample.on_host()["row"]


def test_all_rows_stay_while_they_are_few():
    assert kept(10, 4, 6).tolist() == list(range(10))
    assert len(kept(10, 4, 7)) == 10


@pytest.mark.parametrize("counts", [[1] * 1000, [7] * 142 + [6], [1000], [3, 997]])
def test_the_batches_make_no_difference(counts):
    assert kept(50, *counts).tolist() == kept(50, 500, 500).tolist()
    assert len(kept(50, *counts)) == 50


def test_another_seed_keeps_other_rows():
    assert kept(50, 1000).tolist() != kept(50, 1000, seed=1).tolist()


def test_every_row_stays_by_the_same_chance():
    times = np.zeros(40)
    for seed in range(2000):
        times[kept(10, 15, 20, 5, seed=seed)] += 1
    deviation = (2000 * 0.25 * 0.75) ** 0.5
    assert (abs(times - 500) < 5 * deviation).all()


def test_memory_is_bounded_on_the_way():
    sample = Sample(100, 0)
    most = 0
    for rows in torch.randn(50_000, 2).split(30):
        sample.append(row=rows.clone())
        most = max(
            most, sum(columns["row"].untyped_storage().nbytes() for _, columns in sample._parts)
        )
    assert most <= 2 * 4 * (125 + 30)
    assert (len(sample.on_host()["row"]), sample.shown) == (100, 50_000)


def test_columns_stay_together():
    sample = Sample(20, 0)
    for rows in torch.arange(300).split(13):
        sample.append(one=rows.clone(), other=torch.stack([rows, -rows], 1))
    table = sample.on_host()
    assert (table["other"][:, 0] == table["one"]).all()
    assert (table["other"][:, 1] == -table["one"]).all()


def test_two_tables_together_keep_no_more_than_one():
    one, other = Sample(50, 0), Sample(50, 1)
    one.append(row=torch.arange(100))
    other.append(row=torch.arange(100, 1100))
    one.extend(other)
    rows = one.on_host()["row"]
    assert (len(rows), one.shown) == (50, 1100)
    assert (rows >= 100).sum() > 35  # ten times as many came from there
    empty = Sample(50, 0)
    empty.extend(one)
    assert sorted(empty.on_host()["row"]) == sorted(rows)
