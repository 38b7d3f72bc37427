"""Intervals: of the bootstrap itself, and of what zero_out says with it."""

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from imbalance_lens.probes._intervals import interval, resampled_means

from .test_zero_out import THREE, adding, answer
from .world import World


def test_resampled_means_are_those_of_scipy_draw_by_draw():
    generator = np.random.default_rng(0)
    columns = np.sort(generator.random((5000, 3)), axis=0)
    draws = resampled_means(columns, [2, 1, 0], resamples=300, seed=7)
    expected = bootstrap(
        tuple(columns.T),
        lambda *drawn, axis: np.stack([each.mean(axis) for each in drawn]),
        paired=True,
        vectorized=True,
        n_resamples=300,
        confidence_level=0.8,
        method="percentile",
        batch=50,
        rng=np.random.default_rng(7),
    )
    np.testing.assert_allclose(draws.T, expected.bootstrap_distribution)
    low_high = np.stack(expected.confidence_interval, axis=-1)
    np.testing.assert_allclose(interval(draws, 0.8), low_high)


def test_the_order_of_the_rows_changes_no_draw():
    columns = np.random.default_rng(0).integers(0, 2, (40, 3)).astype(float)
    one, other = (
        resampled_means(rows, [0, 1, 2], resamples=10, seed=0) for rows in (columns, columns[::-1])
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_unknown_number_makes_its_own_column_unknown_and_no_other(number: float):
    columns = np.array([[1.0, number], [1.0, 0.0]])
    draws = resampled_means(columns, [0, 1], resamples=5, seed=0)
    assert draws[:, 0].tolist() == [1] * 5
    assert np.isnan(draws[:, 1]).all()


def test_a_gap_has_the_interval_that_scipy_gives_the_paired_difference():
    world = World(examples=400)
    found = answer(world.see(), resamples=4000, confidence_level=0.9)
    scores = [
        world.logits({name}).softmax(1)[torch.arange(400), world.labels].double().numpy()
        for name in world.modalities
    ]
    expected = bootstrap(
        scores,
        lambda one, other, axis: one.mean(axis) - other.mean(axis),
        paired=True,
        n_resamples=4000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    ends = found["confidence_gap_interval"].sel(modality="audio", other="visual")
    np.testing.assert_allclose(ends, expected, atol=(expected.high - expected.low) / 20)


def test_an_interval_has_the_width_that_the_number_of_examples_allows():
    torch.manual_seed(0)
    labels = torch.randint(2, (2000,))
    seen = adding(labels, a=torch.tensor([[1.0, 0.0]]).expand(2000, 2), b=torch.zeros(2000, 2))
    low, high = answer(seen)["accuracy_interval"].sel(coalition="a").values
    share = (labels == 0).double().mean().item()
    half = 1.96 * (share * (1 - share) / 2000) ** 0.5
    np.testing.assert_allclose([low, high], [share - half, share + half], atol=half / 5)


def test_examples_are_drawn_together_for_all_modalities():
    torch.manual_seed(0)
    same = torch.randn(50, 3)
    found = answer(adding(torch.randint(3, (50,)), a=same, b=same))
    assert (found["alone_interval"][:, 0] < found["alone_interval"][:, 1]).all()
    for name in ("alone_gap", "drop_gap", "confidence_gap"):
        assert found[f"{name}_interval"].values.tolist() == np.zeros((2, 2, 2)).tolist()


def test_the_intervals_hold_the_scores_and_a_pair_read_backwards_is_its_negative():
    found = answer(World(THREE, examples=80).see())
    for name in ("accuracy", "confidence", "alone", "drop", "confidence_drop", "alone_gap"):
        ends = found[f"{name}_interval"]
        assert (ends.sel(bound="low") <= found[name]).all()
        assert (found[name] <= ends.sel(bound="high")).all()
    gap = found["drop_gap_interval"]
    backwards = gap.rename(modality="other", other="modality").transpose(*gap.dims)
    low, high = gap.sel(bound="low"), backwards.sel(bound="high")
    np.testing.assert_allclose(low, -high, atol=1e-12)


def test_one_example_has_scores_but_no_interval():
    found = answer(World(examples=1).see())
    assert found["accuracy"].notnull().all()
    for name in ("accuracy", "alone", "drop_gap", "confidence"):
        assert found[f"{name}_interval"].isnull().all()


def test_scores_without_any_variation_have_intervals_without_width():
    logits = torch.tensor([[5.0, 0.0]]).expand(30, 2)
    found = answer(adding([0] * 30, a=logits, b=logits))
    assert found["accuracy_interval"].values.tolist() == [[1, 1]] * 4
    assert found["drop_interval"].values.tolist() == [[0, 0]] * 2
