from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import (
    antithetic_orders,
    arrival_gains,
    arrivals,
    coalitions,
    shapley_values,
)

from .test_coalitions import games, tensors

names = st.lists(st.text("abcdefgh", min_size=1, max_size=2), unique=True, min_size=2)


@given(games())
def test_over_all_orders_the_mean_gain_is_the_shapley_value(values):
    players = sorted(max(values, key=len))
    orders = list(permutations(players))
    gains = [arrival_gains(tensors(values), order) for order in orders]
    for name, share in shapley_values(tensors(values)).items():
        mean = sum(gain[name].item() for gain in gains) / len(orders)
        assert mean == pytest.approx(share.item(), abs=1e-12)


@given(games(), st.randoms())
def test_in_every_order_the_gains_sum_to_what_all_have_over_none(values, random):
    order = sorted(max(values, key=len))
    random.shuffle(order)
    found = arrival_gains(tensors(values), order)
    assert list(found) == order
    gained = values[frozenset(order)] - values[frozenset()]
    assert sum(gain.item() for gain in found.values()) == pytest.approx(gained, abs=1e-12)


@given(names, st.integers(1, 5), st.integers(0, 9))
def test_each_order_is_followed_by_its_mirror_image(modalities, pairs, seed):
    orders = antithetic_orders(modalities, pairs, seed)
    assert len(orders) == 2 * pairs
    for order, mirror in zip(orders[::2], orders[1::2], strict=True):
        assert mirror == order[::-1]
        assert sorted(order) == sorted(modalities)


@given(names, st.randoms())
def test_how_the_modalities_are_ordered_and_what_was_drawn_before_make_no_difference(given, random):
    shuffled = list(given)
    random.shuffle(shuffled)
    before = torch.random.get_rng_state()
    orders = antithetic_orders(given, 3, seed=1)
    torch.rand(3)
    assert antithetic_orders(shuffled, 3, seed=1) == orders
    torch.random.set_rng_state(before)
    antithetic_orders(given, 3, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_all_orders_are_drawn_about_equally_often():
    drawn = antithetic_orders("abc", 3000, seed=0)
    for order in permutations("abc"):
        assert drawn.count(order) / 6000 == pytest.approx(1 / 6, abs=0.02)


def test_arrivals_grow_by_one():
    assert arrivals("bca") == [frozenset(), frozenset("b"), frozenset("bc"), frozenset("abc")]


def test_what_is_missing_is_named():
    values = {members: torch.tensor(0.0) for members in coalitions("ab")}
    del values[frozenset("b")]
    assert arrival_gains(values, "ab")["a"] == 0
    with pytest.raises(SettingError, match=r"missing: \{b\}"):
        arrival_gains(values, "ba")
    with pytest.raises(SettingError, match="pairs must be above 0; got 0"):
        antithetic_orders("ab", 0, seed=0)
