import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import BatchError
from imbalance_lens.formulas import (
    correct,
    label_confidence,
    label_log_probability,
    true_class_logit,
)
from tests.formulas import twins
from tests.golden import NUMBERS

logit_rows = st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=6)


@pytest.mark.parametrize(("logits", "scores"), [("logits1", "s1"), ("logits2", "s2")])
def test_confidence_is_the_golden_one(logits, scores):
    golden = NUMBERS["split"]
    found = label_confidence(torch.tensor(golden[logits]), torch.tensor(golden["y"]))
    assert found.tolist() == pytest.approx(golden[scores], abs=1e-6)


@given(logit_rows, st.integers(0, 2))
def test_confidence_is_the_softmax_of_the_slow_twin(rows, label):
    labels = [label] * len(rows)
    found = label_confidence(torch.tensor(rows, dtype=torch.float64), torch.tensor(labels))
    assert found.tolist() == pytest.approx(twins.label_confidence(rows, labels), rel=1e-9)


@given(logit_rows, st.floats(-100, 100))
def test_a_constant_added_to_all_logits_changes_no_confidence(rows, constant):
    logits = torch.tensor(rows, dtype=torch.float64)
    labels = torch.zeros(len(rows), dtype=torch.int64)
    torch.testing.assert_close(
        label_confidence(logits + constant, labels), label_confidence(logits, labels)
    )


def test_a_large_offset_in_single_precision_leaves_the_confidence():
    logits = torch.tensor([[1e4 + 1, 1e4], [1e4, 1e4 + 1]])
    found = label_confidence(logits, torch.tensor([0, 0]))
    assert found.tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)], rel=1e-6)


def test_half_precision_is_raised_before_the_softmax():
    logits = torch.tensor([[12.0, 0.0, -12.0]], dtype=torch.float16)
    found = label_confidence(logits, torch.tensor([2]))
    assert found.dtype is torch.float32
    assert found.item() == pytest.approx(3.7751e-11, rel=1e-4)  # half precision would give 0


def test_nan_reaches_the_confidence_of_its_example_only():
    logits = torch.tensor([[math.nan, 0.0], [0.0, 0.0]])
    found = label_confidence(logits, torch.tensor([1, 1]))
    assert torch.isnan(found).tolist() == [True, False]


@pytest.mark.parametrize("label", [-100, -1, 2])
def test_a_label_that_is_no_class_gives_nan_and_no_crash(label):
    found = label_confidence(torch.zeros(2, 2), torch.tensor([label, 1]))
    assert math.isnan(found[0])
    assert found[1] == 0.5


def test_one_class_is_certain_and_an_empty_batch_has_no_confidence():
    assert label_confidence(torch.zeros(1, 1), torch.tensor([0])).tolist() == [1.0]
    assert label_confidence(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).tolist() == []


def test_labels_of_any_integer_type_are_taken():
    logits = torch.zeros(2, 2)
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert label_confidence(logits, torch.tensor([0, 1], dtype=dtype)).tolist() == [0.5, 0.5]
        assert correct(logits, torch.tensor([0, 1], dtype=dtype)).tolist() == [True, False]


@pytest.mark.parametrize(
    "formula", [label_confidence, label_log_probability, correct, true_class_logit]
)
def test_wrong_shapes_and_fractional_labels_are_refused(formula):
    with pytest.raises(BatchError, match=r"got \(16, 3\) and \(8,\)\."):
        formula(torch.zeros(16, 3), torch.zeros(8, dtype=torch.int64))
    with pytest.raises(BatchError, match=r"class indices .* got torch\.float32"):
        formula(torch.zeros(2, 3), torch.zeros(2))


def test_a_nan_among_the_logits_counts_as_wrong_even_in_the_column_of_the_label():
    logits = torch.tensor([[math.nan, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert correct(logits, torch.tensor([0, 1, 0])).tolist() == [False, True, False]


@given(logit_rows, st.integers(0, 2))
def test_the_log_probability_is_the_logarithm_of_the_confidence(rows, label):
    labels = [label] * len(rows)
    found = label_log_probability(torch.tensor(rows, dtype=torch.float64), torch.tensor(labels))
    wanted = [math.log(score) for score in twins.label_confidence(rows, labels)]
    assert found.tolist() == pytest.approx(wanted, abs=1e-9)


def test_the_log_probability_of_what_is_all_but_ruled_out_is_finite():
    logits = torch.tensor([[0.0, 300.0], [0.0, math.nan]])
    found = label_log_probability(logits, torch.tensor([0, 0]))
    assert found[0] == -300
    assert found[1].isnan()
