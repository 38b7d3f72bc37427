"""OGM-GE's factors: golden numbers, a slow twin from the paper, and what always holds."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.formulas import discrepancy_ratio
from recipes.ogm_ge import OgmGe, coefficient, difference, ogm_star
from tests.golden import NUMBERS

from .hand_made import numbers, scores_of

many_scores = st.dictionaries(
    st.sampled_from(["audio", "visual", "text", "depth", "flow"]),
    st.floats(1e-3, 1e3),
    min_size=2,
)
alphas = st.floats(0, 3)


def golden_ratios(card):
    return {str(m): torch.tensor(r) for m, r in enumerate(NUMBERS[card]["rho"])}


def slow_coefficient(scores, alpha, form):
    """Eq. 7 and 11 of the paper, and the line of the conference code, one number at a time."""
    found = {}
    for m, own in scores.items():
        others = [s for j, s in scores.items() if j != m]
        rho = sum(own / s for s in others) / len(others)
        if rho <= 1:
            found[m] = 1.0
        elif form == "tpami":
            found[m] = max(0.0, 1 - alpha * math.tanh(rho - 1))
        else:
            found[m] = 1 - math.tanh(alpha * rho)
    return found


@pytest.mark.parametrize("card", ["ogm_M2", "ogm_M3"])
@pytest.mark.parametrize("form", ["tpami", "cvpr"])
def test_coefficients_are_the_golden_ones(card, form):
    key = next(
        k for k in NUMBERS[card] if k.startswith("k ") and ("paper" in k) == (form == "tpami")
    )
    found = coefficient(golden_ratios(card), 0.8, form)
    assert numbers(found) == pytest.approx(NUMBERS[card][key], abs=2e-5)


def test_limits_are_the_golden_ones():
    limits = NUMBERS["ogm_limits"]
    just = {"a": torch.tensor(1 + 1e-7, dtype=torch.float64)}
    half = {"a": torch.tensor(1.5, dtype=torch.float64)}
    found = [
        coefficient(just, 0.8)["a"],
        coefficient(just, 0.8, "cvpr")["a"],
        coefficient(half, 0.8)["a"],
        coefficient(half, 0.8, "cvpr")["a"],
        coefficient({"a": torch.tensor(3.0)}, 2.0)["a"],
    ]
    assert [k.item() for k in found] == pytest.approx(list(limits.values()), abs=1e-6)


def test_the_forms_for_the_weaker_are_the_golden_ones():
    golden = NUMBERS["ogm_star"]
    two = {"a": torch.tensor(1.5), "v": torch.tensor(2 / 3)}
    assert numbers(ogm_star(two, 0.8, constant=4)) == golden["M2 rho=(1.5,.6667) const4"]
    assert numbers(ogm_star(two, 0.8))[1] == pytest.approx(
        golden["ours 1+a*tanh(1/rho-1), a=.8, rho=2/3"], abs=1e-6
    )
    three = ogm_star(golden_ratios("ogm_M3"), 0.8)
    assert numbers(three) == pytest.approx(golden["M3 (S=3,2,1)"], abs=1e-5)


def test_differences_are_the_golden_ones():
    found = difference(scores_of(a=3.0, b=2.0, c=1.0))
    assert numbers(found) == NUMBERS["ogm_M3"]["diff-variant rho"]


def test_the_sigmoid_variant_is_one_minus_alpha_times_a_sigmoid():
    found = coefficient({"a": torch.tensor(2.0), "b": torch.tensor(0.5)}, 0.5, z="sigmoid")
    assert numbers(found) == pytest.approx([1 - 0.5 / (1 + math.exp(-2)), 1.0])


@given(many_scores, alphas, st.sampled_from(["tpami", "cvpr"]))
def test_coefficients_are_those_of_the_slow_twin(scores, alpha, form):
    found = coefficient(discrepancy_ratio(scores_of(**scores)), alpha, form)
    twin = slow_coefficient(scores, alpha, form)
    # Where the ratio is 1 but for rounding, the conference form jumps.
    clear = [m for m, r in discrepancy_ratio(scores_of(**scores)).items() if abs(r - 1) > 1e-12]
    assert {m: found[m].item() for m in clear} == pytest.approx(
        {m: twin[m] for m in clear}, rel=1e-9, abs=1e-12
    )


@given(many_scores, alphas, st.sampled_from(["tpami", "cvpr"]))
def test_a_factor_is_between_0_and_1_and_the_weakest_is_never_slowed(scores, alpha, form):
    found = coefficient(discrepancy_ratio(scores_of(**scores)), alpha, form)
    assert all(0 <= k <= 1 for k in found.values())
    assert found[min(scores, key=lambda name: scores[name])] == 1


@given(st.floats(1e-3, 1e3), st.integers(2, 6), alphas)
def test_equal_scores_slow_and_speed_up_nobody(score, count, alpha):
    scores = {str(m): torch.tensor(score) for m in range(count)}
    for star in (None, "tanh", 4):
        assert all(k == 1 for k in OgmGe(alpha=alpha, star=star).coefficients(scores).values())
    assert all(k == 1 for k in OgmGe(alpha=alpha, form="cvpr").coefficients(scores).values())


@given(st.floats(1, 50), st.floats(1, 50), alphas, st.sampled_from(["tpami", "cvpr"]))
def test_a_larger_lead_is_slowed_at_least_as_much(one, other, alpha, form):
    less, more = sorted([one, other])
    ratios = {"less": torch.tensor(less).double(), "more": torch.tensor(more).double()}
    found = coefficient(ratios, alpha, form)
    if less > 1:
        assert found["more"] <= found["less"]


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_of_two_modalities_at_most_one_is_slowed(one, two):
    found = OgmGe().coefficients(scores_of(a=one, b=two))
    assert max(numbers(found)) == 1


def test_a_silent_modality_gives_finite_factors():
    for settings in ({}, {"form": "cvpr"}, {"star": "tanh"}, {"ratio": "difference"}):
        for scores in (scores_of(a=0.0, b=5.0), scores_of(a=0.0, b=0.0)):
            assert all(k.isfinite() for k in OgmGe(**settings).coefficients(scores).values())
    assert all(k == 1 for k in OgmGe().coefficients(scores_of(a=0.0, b=0.0)).values())


@pytest.mark.parametrize("settings", [{}, {"form": "cvpr"}, {"star": "tanh"}, {"star": 4}])
def test_a_score_of_nan_is_not_hidden(settings):
    found = OgmGe(**settings).coefficients(scores_of(a=math.nan, b=1.0))
    assert all(k.isnan() for k in found.values())


def test_an_infinite_ratio_gives_the_limit():
    ratios = {"a": torch.tensor(math.inf)}
    assert coefficient(ratios, 0.5)["a"] == 0.5
    assert coefficient(ratios, 0.0)["a"] == 1
    assert ogm_star({"a": torch.tensor(0.0)}, 0.5)["a"] == 1.5
