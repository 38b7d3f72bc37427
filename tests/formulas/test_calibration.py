import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import Reliability, expected_calibration_error, top_confidence
from tests.formulas import twins

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def bins_by_hand(rows, bins):
    """Per bin (low, high] its examples; the first bin holds 0 as well."""
    found = []
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        found.append([(c, r) for c, r in rows if low < c <= high or (b == 0 and c == 0)])
    return [
        (len(each), math.fsum(c for c, _ in each) / len(each), sum(r for _, r in each) / len(each))
        for each in found
        if each
    ]


def filled(rows, bins=15, dtype=torch.float64):
    reliability = Reliability(bins)
    confidences, corrects = zip(*rows, strict=True)
    reliability.update(torch.tensor(confidences, dtype=dtype), torch.tensor(corrects))
    return reliability


def test_three_bins_give_what_they_give_by_hand():
    rows = [(0.2, False), (0.3, True), (0.6, True), (0.9, True), (0.9, False), (1.0, False)]
    found = filled(rows, bins=3)
    # (0, 1/3]: sure 0.25, right 0.5; (1/3, 2/3]: 0.6 and 1; (2/3, 1]: 2.8/3 and 1/3
    assert found.counts.tolist() == [2, 1, 3]
    assert found.confidence.tolist() == pytest.approx([0.25, 0.6, 2.8 / 3])
    assert found.accuracy.tolist() == pytest.approx([0.5, 1, 1 / 3])
    assert found.expected_error.item() == pytest.approx((2 * 0.25 + 0.4 + 1.8) / 6)
    assert found.overconfidence.item() == pytest.approx(1.8 / 6)
    assert found.maximum_error.item() == pytest.approx(0.6)
    assert found.gap.item() == pytest.approx(3.9 / 6 - 0.5)


@given(answers, st.integers(1, 20))
def test_the_errors_are_those_of_a_loop_over_the_bins(rows, bins):
    found = filled(rows, bins)
    wanted = bins_by_hand(rows, bins)
    error = math.fsum(n * abs(acc - conf) for n, conf, acc in wanted) / len(rows)
    over = math.fsum(n * max(conf - acc, 0) for n, conf, acc in wanted) / len(rows)
    assert found.expected_error.item() == pytest.approx(error, abs=1e-12)
    assert found.overconfidence.item() == pytest.approx(over, abs=1e-12)
    largest = max(abs(acc - conf) for _, conf, acc in wanted)
    assert found.maximum_error.item() == pytest.approx(largest, abs=1e-12)


@given(answers)
def test_the_function_and_the_accumulator_say_the_same(rows):
    confidences, corrects = map(torch.tensor, zip(*rows, strict=True))
    whole = expected_calibration_error(confidences, corrects)
    assert whole == filled(rows, dtype=confidences.dtype).expected_error


@given(answers, answers)
def test_parts_add_up_to_the_whole(one, other):
    merged, whole = filled(one), filled(one + other)
    merged.merge(Reliability())
    merged.merge(filled(other))
    assert merged.counts.tolist() == whole.counts.tolist()
    for name in ("expected_error", "maximum_error", "overconfidence", "gap"):
        torch.testing.assert_close(getattr(merged, name), getattr(whole, name))


@given(answers)
def test_too_sure_and_too_shy_bins_make_up_the_error_and_their_difference_the_gap(rows):
    found = filled(rows)
    shy = found.expected_error - found.overconfidence
    assert (found.overconfidence - shy).item() == pytest.approx(found.gap.item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [2, 5, 15])
def test_an_edge_belongs_to_the_bin_below_in_any_precision(dtype, bins):
    edges = torch.arange(1, bins + 1, dtype=dtype) / bins
    found = Reliability(bins)
    found.update(edges, torch.ones(bins))
    assert found.counts.tolist() == [1] * bins


def test_no_confidence_at_all_is_in_the_first_bin():
    assert filled([(0.0, True)]).counts.tolist() == [1] + [0] * 14


def test_an_empty_bin_has_no_accuracy_and_no_share_in_the_error():
    found = filled([(1.0, True)])
    assert found.expected_error == 0
    assert found.maximum_error == 0
    assert found.accuracy.isnan().tolist() == [True] * 14 + [False]


def test_a_confidence_that_is_nan_is_counted_and_makes_every_error_unknown():
    found = filled([(0.9, True), (math.nan, False)])
    assert found.nonfinite == 1
    assert found.counts.sum() == 1
    for name in ("expected_error", "maximum_error", "overconfidence", "gap"):
        assert getattr(found, name).isnan()


def test_before_the_first_example_nothing_is_known():
    found = Reliability()
    assert found.expected_error.isnan()
    assert found.gap.isnan()
    assert found.nonfinite == 0


def test_a_thousand_sure_and_right_answers_in_half_precision_are_calibrated():
    logits = torch.tensor([[60.0, 0.0]], dtype=torch.float16).expand(1000, 2)
    found = expected_calibration_error(top_confidence(logits), torch.ones(1000, dtype=torch.bool))
    assert found.item() == pytest.approx(0, abs=1e-6)


@given(st.lists(st.lists(st.floats(-30, 30), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_top_confidence_is_the_largest_of_the_softmax(rows):
    found = top_confidence(torch.tensor(rows, dtype=torch.float64))
    assert found.tolist() == pytest.approx([max(twins.softmax(row)) for row in rows], rel=1e-9)


def test_logits_without_a_softmax_have_no_top_confidence():
    logits = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [-math.inf, 0.0]])
    assert top_confidence(logits).isnan().tolist() == [True, True, False]


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingError, match="bins must be above 0; got 0"):
        Reliability(0)
    with pytest.raises(SettingError, match=r"correct must be \(batch,\).*got \(3,\)"):
        expected_calibration_error(torch.ones(2), torch.ones(3))
    with pytest.raises(SettingError, match=r"confidence must be \(batch,\); got \(2, 2\)"):
        expected_calibration_error(torch.ones(2, 2), torch.ones(2, 2))
    with pytest.raises(SettingError, match=r"logits must be \(batch, classes\); got \(2,\)"):
        top_confidence(torch.ones(2))
    with pytest.raises(SettingError, match="The other's sums must be"):
        Reliability(3).merge(Reliability(4))
