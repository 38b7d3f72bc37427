from itertools import product
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import additive_projection

numbers = st.lists(st.floats(-5, 5), min_size=1, max_size=6)


def shifts(table):
    """From the table of f(a_i, v_j), (n, n, classes), to its n shifted diagonals."""
    rows = torch.arange(len(table))
    return [table[rows, rows.roll(-shift)] for shift in range(len(table))]


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 10**6))))
def test_it_is_the_row_mean_and_the_column_mean_less_the_mean(drawn):
    n, seed = drawn
    table = torch.randn(n, n, 3, generator=torch.Generator().manual_seed(seed)).double()
    found = additive_projection(shifts(table))
    for i, c in product(range(n), range(3)):
        row = fmean(table[i, j, c].item() for j in range(n))
        column = fmean(table[j, i, c].item() for j in range(n))
        mean = fmean(table[j, k, c].item() for j, k in product(range(n), range(n)))
        assert found[i, c].item() == pytest.approx(row + column - mean, abs=1e-12)


def test_no_other_sum_of_two_functions_is_closer():
    table = torch.randn(5, 5, 1).double()
    which = torch.eye(5).double()
    design = torch.cat([which.repeat_interleave(5, 0), which.repeat(5, 1)], 1)
    weights = torch.linalg.lstsq(design, table.reshape(25, 1), driver="gelsd").solution
    fitted = (design @ weights).reshape(5, 5, 1)
    diagonal = torch.arange(5)
    torch.testing.assert_close(additive_projection(shifts(table)), fitted[diagonal, diagonal])


@given(numbers, numbers)
def test_a_sum_is_its_own_projection(one, other):
    n = min(len(one), len(other))
    a, v = (torch.tensor(each[:n], dtype=torch.float64).unsqueeze(1) for each in (one, other))
    found = additive_projection(a + v.roll(-shift, 0) for shift in range(n))
    torch.testing.assert_close(found, a + v)


def test_exclusive_or_has_nothing_left_in_its_projection():
    a, v = (
        torch.tensor([[-1.0], [-1.0], [1.0], [1.0]]),
        torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]),
    )
    found = additive_projection(a * v.roll(-shift, 0) for shift in range(4))
    assert found.tolist() == [[0.0]] * 4


def test_a_large_offset_in_single_precision_is_not_lost():
    a, v = torch.randn(8, 1), torch.randn(8, 1)
    found = additive_projection(1e4 + a * v.roll(-shift, 0) for shift in range(8))
    expected = additive_projection(a * v.roll(-shift, 0) for shift in range(8))
    torch.testing.assert_close(found - 1e4, expected, atol=2e-3, rtol=0)


def test_one_unknown_answer_makes_every_row_unknown():
    table = torch.zeros(3, 3, 2)
    table[1, 2] = torch.nan
    assert additive_projection(shifts(table)).isnan().all()


def test_what_are_not_all_pairs_is_refused():
    some = torch.zeros(3, 2)
    with pytest.raises(SettingError, match=r"must hold 3 tensors, one per row.*got 2"):
        additive_projection([some, some])
    with pytest.raises(SettingError, match="at least one tensor"):
        additive_projection([])
    with pytest.raises(SettingError, match=r"shifted\[1\] must be \(3, 2\), as the first"):
        additive_projection([some, torch.zeros(2, 2)])
    with pytest.raises(SettingError, match=r"shifted\[0\] must be \(n, classes\)"):
        additive_projection([torch.zeros(1)])
