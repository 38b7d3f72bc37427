import random
from math import fsum

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.formulas import coalitions, presence_probability

rates = st.dictionaries(st.sampled_from("abcde"), st.floats(0, 1), min_size=2)


@given(rates)
def test_something_is_left_with_certainty(rates):
    found = [presence_probability(present, rates).item() for present in coalitions(list(rates))]
    assert fsum(found) == pytest.approx(1)
    assert min(found) >= 0


@given(rates)
def test_each_modality_is_missing_as_often_as_its_rate_says(rates):
    for name, rate in rates.items():
        others = [s for s in coalitions(list(rates)) if name not in s]
        gone = fsum(presence_probability(present, rates).item() for present in others)
        assert gone == pytest.approx(rate, abs=1e-12)


def test_by_hand_for_two():
    rates = {"audio": 0.25, "visual": 0.5}
    found = [
        presence_probability(present, rates).item() for present in coalitions(["audio", "visual"])
    ]
    assert found == pytest.approx([0.125, 0.375, 0.125, 0.375])


def test_what_is_drawn_at_random_comes_to_the_same():
    draw, rates = random.Random(0), {"a": 0.1, "b": 0.4, "c": 0.7}
    times = dict.fromkeys(coalitions("abc"), 0)
    for _ in range(20000):
        times[frozenset(m for m in rates if draw.random() >= rates[m])] += 1
    for present, seen in times.items():
        expected = presence_probability(present, rates).item()
        assert seen / 20000 == pytest.approx(expected, abs=0.015)


def test_several_rates_are_answered_at_once_and_a_number_serves_them_all():
    found = presence_probability({"a"}, {"a": torch.tensor([0.0, 0.5, 1.0]), "b": 0.5})
    assert found.tolist() == [0.5, 0.25, 0.0]
