"""OPM's probabilities: golden numbers, a slow twin from the paper, and what must hold for all."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.formulas import discrepancy_ratio
from recipes.opm import drop_probability, dropped_share
from tests.golden import NUMBERS

from .hand_made import numbers, scores_of

GOLDEN = NUMBERS["opm"]
many_scores = st.dictionaries(
    st.sampled_from(["audio", "visual", "text", "depth", "flow"]),
    st.floats(1e-3, 1e3),
    min_size=2,
)


def slow_probability(scores, q_base, lam):
    """Eq. 7 and 8 of the paper, one number at a time."""
    found = {}
    for m, own in scores.items():
        others = [s for j, s in scores.items() if j != m]
        rho = sum(own / s for s in others) / len(others)
        found[m] = min(1.0, q_base * (1 + lam * math.tanh(rho - 1))) if rho > 1 else 0.0
    return found


def test_probabilities_are_the_golden_ones():
    ratios = {"a": torch.tensor(GOLDEN["rho"][0]), "v": torch.tensor(GOLDEN["rho"][1])}
    found = drop_probability(ratios, 0.5, 0.5)
    assert numbers(found) == pytest.approx(GOLDEN["q(q_base=.5,lam=.5)"], abs=1e-6)
    three = drop_probability(discrepancy_ratio(scores_of(a=3.0, b=2.0, c=1.0)), 0.5, 0.5)
    assert numbers(three) == pytest.approx(GOLDEN["q M3 S=(3,2,1)"], abs=1e-6)
    far = drop_probability({"a": torch.tensor(math.inf)}, 0.5, 0.5)
    assert numbers(far) == [GOLDEN["q at rho->inf"]]


def test_the_share_that_is_dropped_is_the_golden_one():
    q = {"a": torch.tensor(0.615529), "v": torch.tensor(0.0)}
    equal = dropped_share(q, {"a": 2, "v": 2})
    assert equal.item() == pytest.approx(GOLDEN["theta(equal dims)"], abs=1e-6)
    assert 1 / (1 - equal.item()) == pytest.approx(GOLDEN["scale 1/(1-theta)"], abs=1e-5)
    wide = dropped_share(q, {"a": 512, "v": 128})
    assert wide.item() == pytest.approx(GOLDEN["unequal dims d=(512,128) theta"], abs=1e-6)


@given(many_scores, st.floats(0, 1), st.floats(0, 3))
def test_probabilities_are_those_of_the_slow_twin(scores, q_base, lam):
    ratios = discrepancy_ratio(scores_of(**scores))
    found, twin = drop_probability(ratios, q_base, lam), slow_probability(scores, q_base, lam)
    clear = [m for m, ratio in ratios.items() if abs(ratio - 1) > 1e-12]  # there it jumps
    assert [found[m].item() for m in clear] == pytest.approx([twin[m] for m in clear], rel=1e-9)


@given(many_scores, st.floats(0, 1), st.floats(0, 3))
def test_probabilities_are_0_or_in_their_range_and_the_weakest_is_never_dropped(
    scores, q_base, lam
):
    found = drop_probability(discrepancy_ratio(scores_of(**scores)), q_base, lam)
    top = min(1.0, q_base * (1 + lam)) * (1 + 1e-9)
    assert all(q == 0 or q_base * (1 - 1e-9) <= q <= top for q in found.values())
    assert found[min(scores, key=lambda name: scores[name])] == 0
