import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import ClassSums, Moments, logit_norm
from tests.formulas import twins
from tests.golden import NUMBERS

numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)


def moments_of(*batches):
    moments = Moments()
    for batch in batches:
        moments.update(torch.tensor(batch, dtype=torch.float64))
    return moments


@given(numbers, numbers)
def test_split_or_merged_the_moments_are_those_of_the_slow_twin(first, second):
    mean, std = twins.mean_and_std(first + second)
    merged = moments_of(first)
    merged.merge(moments_of(second))
    for moments in (moments_of(first + second), moments_of(first, second), merged):
        assert moments.count == len(first) + len(second)
        assert moments.mean.item() == pytest.approx(mean, abs=1e-9)
        assert moments.std.item() == pytest.approx(std, abs=1e-6)


def test_the_spread_survives_a_large_offset_in_single_precision():
    values = torch.tensor([1e4, 1e4 + 1, 1e4 + 2])
    moments = Moments()
    for value in values:
        moments.update(value[None])
    assert moments.std.item() == pytest.approx(math.sqrt(2 / 3), rel=1e-12)


def test_moments_keep_the_shape_of_one_value():
    values = torch.randn(50, 3, 2).double()
    moments = Moments()
    for part in values.split(7):
        moments.update(part)
    torch.testing.assert_close(moments.mean, values.mean(0))
    torch.testing.assert_close(moments.std, values.std(0, correction=0))


def test_moments_of_nothing_are_nan_and_of_one_value_have_no_spread():
    moments = Moments()
    assert moments.mean.isnan()
    assert moments.std.isnan()
    moments.update(torch.zeros(0, 3))
    assert moments.count == 0
    moments.update(torch.tensor([[1.0, 2.0, 3.0]]))
    assert moments.mean.tolist() == [1, 2, 3]
    assert moments.std.tolist() == [0, 0, 0]


def test_merging_with_nothing_changes_nothing():
    moments = moments_of([1.0, 2.0])
    moments.merge(Moments())
    assert (moments.count, moments.mean.item(), moments.std.item()) == (2, 1.5, 0.5)


def test_what_was_merged_in_stays_as_it_was():
    other = moments_of([1.0, 2.0])
    total = Moments()
    total.merge(other)
    total.update(torch.tensor([9.0]))
    assert (other.count, other.mean.item(), other.std.item()) == (2, 1.5, 0.5)


def test_nan_reaches_the_moments_of_its_column_only():
    moments = Moments()
    moments.update(torch.tensor([[math.nan, 1.0]]))
    moments.update(torch.tensor([[1.0, 3.0]]))
    assert moments.mean.isnan().tolist() == [True, False]
    assert moments.std.isnan().tolist() == [True, False]


def test_moments_hold_no_graph():
    moments = Moments()
    moments.update(torch.ones(2, requires_grad=True))
    assert not moments.mean.requires_grad


def test_class_means_are_the_golden_ones():
    golden = NUMBERS["logit_norm"]
    sums = ClassSums(2)
    sums.update(logit_norm(torch.tensor(golden["logits"])), torch.tensor(golden["y"]))
    assert sums.mean.tolist() == golden["class mean norm"]


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 3)), max_size=20), st.integers(0, 20)
)
def test_split_or_merged_the_class_sums_are_those_of_a_loop(pairs, cut):
    wanted = [math.fsum(v for v, label in pairs if label == c) for c in range(4)]
    counts = [sum(label == c for _, label in pairs) for c in range(4)]

    def summed(*parts):
        sums = ClassSums(4)
        for part in parts:
            values = torch.tensor([v for v, _ in part], dtype=torch.float64)
            sums.update(values, torch.tensor([label for _, label in part], dtype=torch.int64))
        return sums

    merged = summed(pairs[:cut])
    merged.merge(summed(pairs[cut:]))
    for sums in (summed(pairs), summed(pairs[:cut], pairs[cut:]), merged):
        assert sums.sums.tolist() == pytest.approx(wanted, abs=1e-9)
        assert sums.counts.tolist() == counts


def test_merging_class_sums_with_nothing_changes_nothing_and_leaves_the_other_alone():
    full, total = ClassSums(2), ClassSums(2)
    full.update(torch.tensor([1.0, 2.0]), torch.tensor([0, 1]))
    total.merge(ClassSums(2))
    total.merge(full)
    total.update(torch.tensor([4.0]), torch.tensor([0]))
    total.merge(ClassSums(2))
    assert total.sums.tolist() == [5, 2]
    assert total.counts.tolist() == [2, 1]
    assert full.sums.tolist() == [1, 2]


def test_accumulators_live_where_their_values_do():
    sums, moments = ClassSums(2), Moments()
    sums.merge(ClassSums(2))
    values = torch.ones(3, device="meta")
    sums.update(values, values.long())
    moments.update(values)
    assert {sums.sums.device.type, sums.mean.device.type, moments.std.device.type} == {"meta"}


def test_class_means_weighted_by_their_counts_are_the_mean_of_all():
    values, labels = torch.rand(100), torch.randint(0, 5, (100,))
    sums = ClassSums(5)
    sums.update(values, labels)
    whole = (sums.mean * sums.counts).sum() / sums.counts.sum()
    torch.testing.assert_close(whole, values.double().mean())


def test_an_empty_class_has_nan_and_a_strange_label_is_left_out():
    sums = ClassSums(3)
    assert sums.mean.isnan().all()
    sums.update(torch.tensor([1.0, 5.0, 7.0]), torch.tensor([0, -100, 3]))
    assert sums.counts.tolist() == [1, 0, 0]
    assert sums.mean[0] == 1
    assert sums.mean[1:].isnan().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_no_number_stays_in_its_class(bad):
    sums = ClassSums(2)
    sums.update(torch.tensor([bad, 1.0]), torch.tensor([0, 1]))
    assert not sums.mean[0].isfinite()
    assert sums.mean[1] == 1


def test_class_sums_that_do_not_fit_are_refused():
    with pytest.raises(SettingError, match="classes must be above 0; got 0"):
        ClassSums(0)
    with pytest.raises(SettingError, match=r"values must be \(batch,\), as labels are \(3,\)"):
        ClassSums(2).update(torch.zeros(2), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(SettingError, match=r"The other's sums must be \(2,\); got \(3,\)"):
        ClassSums(2).merge(ClassSums(3))
