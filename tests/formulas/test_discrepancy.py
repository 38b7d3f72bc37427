import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import discrepancy_ratio
from tests.formulas import twins
from tests.golden import NUMBERS

many_scores = st.dictionaries(
    st.sampled_from(["audio", "visual", "text", "depth", "flow"]),
    st.floats(1e-3, 1e3),
    min_size=2,
)


def tensors(scores):
    return {name: torch.tensor(score, dtype=torch.float64) for name, score in scores.items()}


@pytest.mark.parametrize("card", ["ogm_M2", "ogm_M3"])
def test_ratios_are_the_golden_ones(card):
    scores = {str(m): torch.tensor(s) for m, s in enumerate(NUMBERS[card]["S"])}
    found = discrepancy_ratio(scores)
    assert [r.item() for r in found.values()] == pytest.approx(NUMBERS[card]["rho"], abs=1e-5)


def test_three_modalities_get_the_mean_of_ratios_not_the_ratio_of_means():
    found = discrepancy_ratio(tensors({"a": 3.0, "b": 2.0, "c": 1.0}))
    assert found["a"] == 2.25  # and 3 / 1.5 = 2 would be the other one


@given(many_scores)
def test_ratios_are_those_of_the_slow_twin(scores):
    found = {name: ratio.item() for name, ratio in discrepancy_ratio(tensors(scores)).items()}
    assert found == pytest.approx(twins.discrepancy_ratio(scores), rel=1e-12)


@given(many_scores, st.randoms(use_true_random=False))
def test_another_order_of_the_modalities_only_orders_the_answer(scores, chance):
    names = list(scores)
    chance.shuffle(names)
    found = discrepancy_ratio(tensors({name: scores[name] for name in names}))
    assert list(found) == names
    for name, ratio in discrepancy_ratio(tensors(scores)).items():
        assert found[name].item() == pytest.approx(ratio.item(), rel=1e-12)


@given(many_scores)
def test_the_weakest_modality_never_leads(scores):
    found = discrepancy_ratio(tensors(scores))
    assert found[min(scores, key=lambda name: scores[name])] <= 1 + 1e-12


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_the_ratios_of_two_modalities_are_each_other_s_inverse(one, two):
    found = discrepancy_ratio(tensors({"a": one, "b": two}))
    assert (found["a"] * found["b"]).item() == pytest.approx(1)


def test_a_zero_score_makes_the_others_infinite():
    found = discrepancy_ratio(tensors({"a": 1.0, "silent": 0.0, "b": 2.0}))
    assert found["a"] == found["b"] == math.inf
    assert found["silent"] == 0


def test_two_zero_scores_and_nan_give_nan():
    assert all(r.isnan() for r in discrepancy_ratio(tensors({"a": 0.0, "b": 0.0})).values())
    poisoned = discrepancy_ratio(tensors({"a": math.nan, "b": 1.0, "c": 1.0}))
    assert all(ratio.isnan() for ratio in poisoned.values())


def test_half_precision_scores_do_not_overflow():
    half = {"a": torch.tensor(60000.0, dtype=torch.float16), "b": torch.tensor(1e-3).half()}
    assert discrepancy_ratio(half)["a"].item() == pytest.approx(6e7, rel=1e-3)


def test_one_modality_is_refused():
    with pytest.raises(SettingError, match="Two or more modalities are needed; got 'audio'"):
        discrepancy_ratio({"audio": torch.tensor(1.0)})
