import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import Moments, constant_activations, dead_rate
from tests.formulas import twins
from tests.golden import NUMBERS

GOLDEN = NUMBERS["dead"]
maps = st.lists(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5]), min_size=2, max_size=2), min_size=3, max_size=3
)
batches = st.lists(maps, min_size=1, max_size=6)


def spread(activations):
    """Mean and standard deviation of each channel over examples and positions."""
    moments = Moments()
    moments.update(activations.movedim(1, -1).flatten(0, -2))
    return moments.mean, moments.std


def test_the_dead_rate_is_the_golden_one():
    activations = torch.tensor(GOLDEN["z"]).relu()
    assert dead_rate(activations).tolist() == GOLDEN["dead_rate"]
    assert (dead_rate(activations) >= 1).nonzero().flatten().tolist() == GOLDEN["dead_channels@1.0"]


def test_the_constant_channels_are_the_golden_ones():
    found = constant_activations(*spread(torch.tensor(GOLDEN["z"]).relu()))
    assert found.nonzero().flatten().tolist() == GOLDEN["const_channels(std<1e-6)"]


@given(batches)
def test_the_dead_rate_is_that_of_the_slow_twin_before_and_behind_the_relu(activations):
    wanted = pytest.approx(twins.dead_rate(activations))
    assert dead_rate(torch.tensor(activations)).tolist() == wanted
    assert dead_rate(torch.tensor(activations).relu()).tolist() == wanted


@given(batches, batches)
def test_two_batches_weighted_by_size_give_the_rate_of_the_whole(first, second):
    parts = len(first) * dead_rate(torch.tensor(first)) + len(second) * dead_rate(
        torch.tensor(second)
    )
    whole = dead_rate(torch.tensor(first + second))
    torch.testing.assert_close(parts / (len(first) + len(second)), whole)


@given(batches, st.randoms(use_true_random=False))
def test_another_order_of_the_examples_changes_nothing(activations, chance):
    moved = list(activations)
    chance.shuffle(moved)
    assert dead_rate(torch.tensor(moved)).tolist() == dead_rate(torch.tensor(activations)).tolist()


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 2, 2), (4, 3, 2, 2, 2)])
def test_any_number_of_positions_is_taken(shape):
    activations = torch.ones(shape)
    activations[0, 1] = 0
    assert dead_rate(activations).tolist() == [0, 0.25, 0]


def test_half_precision_truth_and_an_empty_batch():
    assert dead_rate(torch.zeros(3, 2).half()).dtype is torch.float32
    assert dead_rate(torch.tensor([[True, False]])).tolist() == [0, 1]
    assert dead_rate(torch.zeros(0, 2, 3)).isnan().all()


def test_nan_reaches_the_rate_of_its_channel_only():
    activations = torch.zeros(2, 2, 3)
    activations[0, 1, 2] = math.nan
    assert dead_rate(activations).isnan().tolist() == [False, True]


def test_a_vector_is_refused():
    with pytest.raises(SettingError, match=r"\(batch, channels, ...\); got \(3,\)"):
        dead_rate(torch.zeros(3))


def test_the_layer_s_spread_follows_from_its_channels():
    activations = torch.randn(64, 5, 7).double() * torch.logspace(-7, 0, 5)[:, None]
    activations += 100 * torch.arange(5)[:, None]
    mean, std = spread(activations)
    layer = activations.std(correction=0)
    for tolerance in (1e-6, 1e-3, 0.5):
        found = constant_activations(mean, std, tolerance)
        assert found.tolist() == (std <= tolerance * layer).tolist()


def test_a_layer_that_never_varies_is_wholly_constant():
    assert constant_activations(*spread(torch.full((4, 2), 0.1))).all()


def test_a_constant_channel_far_from_zero_is_found_in_single_precision():
    activations = torch.stack([torch.full((64,), 1e4), torch.randn(64) + 1e4], 1)
    assert constant_activations(*spread(activations)).tolist() == [True, False]


def test_a_nan_channel_does_not_hide_a_constant_one():
    mean, std = torch.tensor([math.nan, 1.0, 2.0]), torch.tensor([math.nan, 0.0, 1.0])
    assert constant_activations(mean, std).tolist() == [False, True, False]


def test_a_spread_that_does_not_fit_is_refused():
    with pytest.raises(SettingError, match=r"std must be of the mean's shape, \(2,\); got \(3,\)"):
        constant_activations(torch.zeros(2), torch.zeros(3))
    with pytest.raises(SettingError, match="tolerance must be above 0"):
        constant_activations(torch.zeros(2), torch.zeros(2), 0)
