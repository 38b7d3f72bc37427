import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import kl_divergence
from tests.formulas import twins

rows = st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=4, max_size=4)


@given(rows, rows)
def test_it_is_that_of_scipy(one, other):
    found = kl_divergence(*(torch.tensor(each, dtype=torch.float64) for each in (one, other)))
    pairs = zip(map(twins.softmax, one), map(twins.softmax, other), strict=True)
    assert found.tolist() == pytest.approx([rel_entr(p, q).sum() for p, q in pairs], abs=1e-9)


@given(rows, st.floats(-100, 100))
def test_the_same_answer_is_no_distance_away_whatever_is_added_to_all_classes(logits, constant):
    logits = torch.tensor(logits, dtype=torch.float64)
    found = kl_divergence(logits, logits + constant)
    assert (found >= 0).all()
    torch.testing.assert_close(found, torch.zeros_like(found))


def test_by_hand_it_counts_the_classes_that_the_answer_holds_possible():
    certain, unsure = torch.tensor([[0.0, -math.inf]]), torch.tensor([[0.0, 0.0]])
    assert kl_divergence(certain, unsure).item() == pytest.approx(math.log(2))
    assert kl_divergence(unsure, certain).item() == math.inf
    assert kl_divergence(certain, certain).item() == 0


def test_an_answer_without_a_softmax_is_unknown_on_either_side():
    fine = torch.tensor([[0.0, 1.0], [0.0, -math.inf], [1.0, 0.0]])
    broken = torch.tensor([[math.nan, 0.0], [math.nan, 0.0], [math.inf, 0.0]])
    assert kl_divergence(fine, broken).isnan().all()
    assert kl_divergence(broken, fine).isnan().all()


def test_half_precision_is_raised_before_the_softmax():
    one, other = torch.tensor([[0.0, -12.0]]).half(), torch.tensor([[0.0, 12.0]]).half()
    assert kl_divergence(one, other).item() == pytest.approx(12.0, rel=1e-3)


def test_answers_to_different_questions_are_refused():
    with pytest.raises(SettingError, match=r"other must be \(2, 3\); got \(2, 4\)"):
        kl_divergence(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(SettingError, match=r"logits must be \(batch, classes\); got \(3,\)"):
        kl_divergence(torch.zeros(3), torch.zeros(3))
