import math
from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import (
    coalitions,
    cooperation,
    shapley_interactions,
    shapley_values,
)
from tests.golden import NUMBERS

from .test_coalitions import NAMES, game, games, tensors


def interaction_by_orders(pair, values):
    """The mean over all orders, in which the pair arrives as one, of what it gains over its parts.

    The definition: the Shapley value of the pair merged into one player, less that of each of the
    two where the other one never comes.
    """
    everyone = max(values, key=len)

    def share(player, others):
        players = [*[frozenset({name}) for name in others], player]
        gains = []
        for order in permutations(players):
            before = frozenset().union(*order[: order.index(player)])
            gains.append(values[before | player] - values[before])
        return math.fsum(gains) / len(gains)

    rest = everyone - pair
    return share(pair, rest) - sum(share(frozenset({name}), rest) for name in pair)


@given(games())
def test_a_pair_gets_what_it_is_worth_as_one_beyond_its_parts(values):
    found = shapley_interactions(tensors(values))
    names = sorted(max(values, key=len))
    assert set(found) == {frozenset(pair) for pair in combinations(names, 2)}
    for pair, index in found.items():
        assert index.item() == pytest.approx(interaction_by_orders(pair, values), abs=1e-10)


def test_the_golden_pair_repeats_itself():
    golden = NUMBERS["shapley"]["M2 v"]
    values = {frozenset(key.replace("0", "")): torch.tensor(v) for key, v in golden.items()}
    found = shapley_interactions(values)[frozenset("av")].item()
    assert found == pytest.approx(0.7 - 0.6 - 0.3 + 0.1)
    assert cooperation(values).item() == pytest.approx(found / (0.7 - 0.1))


def test_the_golden_three_by_hand():
    golden = NUMBERS["shapley"]["M3 v"]
    values = {frozenset(key): torch.tensor(v, dtype=torch.float64) for key, v in golden.items()}
    found = shapley_interactions(values)
    without, beside = 0.6 - 0.5 - 0.3 + 0.1, 0.7 - 0.55 - 0.4 + 0.2
    assert found[frozenset("01")].item() == pytest.approx((without + beside) / 2)
    alone = (0.5 - 0.1) + (0.3 - 0.1) + (0.2 - 0.1)
    assert cooperation(values).item() == pytest.approx((0.6 - alone) / 0.6)


@given(games())
def test_values_that_add_up_leave_nothing_to_share_between_two(values):
    singles = {name: values[frozenset({name})] for name in max(values, key=len)}
    adding = {members: 1.0 + sum(singles[name] for name in members) for members in values}
    for index in shapley_interactions(tensors(adding)).values():
        assert index.item() == pytest.approx(0, abs=1e-9)
    if abs(adding[max(values, key=len)] - 1) > 1e-3:
        assert cooperation(tensors(adding)).item() == pytest.approx(0, abs=1e-9)


@given(games())
def test_the_value_of_all_is_that_of_the_single_ones_and_the_dividends_of_the_rest(values):
    def dividend(members):
        parts = coalitions(sorted(members))
        return math.fsum((-1) ** (len(members) - len(part)) * values[part] for part in parts)

    everyone = max(values, key=len)
    gained = values[everyone] - values[frozenset()]
    if abs(gained) > 1e-2:
        together = math.fsum(dividend(members) for members in values if len(members) > 1)
        assert cooperation(tensors(values)).item() == pytest.approx(together / gained, abs=1e-8)


@given(games())
def test_half_the_interactions_and_the_lone_values_make_up_the_shares_of_two(values):
    pair = {members: values[members] for members in coalitions(NAMES[:2]) if members in values}
    if len(pair) < 4:
        return
    (index,) = shapley_interactions(tensors(pair)).values()
    for name, share in shapley_values(tensors(pair)).items():
        lone = pair[frozenset({name})] - pair[frozenset()]
        assert share.item() == pytest.approx(lone + index.item() / 2, abs=1e-10)


def test_scores_of_many_examples_are_answered_one_by_one():
    torch.manual_seed(0)
    values = {members: torch.randn(6) for members in coalitions(["x", "y", "z"])}
    found = shapley_interactions(values)
    row = shapley_interactions({members: value[2] for members, value in values.items()})
    for pair, index in found.items():
        torch.testing.assert_close(index[2], row[pair])


def test_what_is_missing_is_named():
    values = tensors(game([0.0] * 8))
    del values[frozenset({"audio", "visual"})]
    with pytest.raises(SettingError, match=r"all 8 coalitions.*missing: \{audio, visual\}"):
        shapley_interactions(values)
    assert cooperation(values).isnan()  # of no pair it needs to know the value
    del values[frozenset({"text"})]
    with pytest.raises(SettingError, match=r"all 5 coalitions.*missing: \{text\}"):
        cooperation(values)
