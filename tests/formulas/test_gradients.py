import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import cosine, gradients

from . import twins

entries = st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-3)
pairs = st.lists(st.tuples(entries, entries), min_size=1, max_size=20)


def doubles(values):
    return torch.tensor(values, dtype=torch.float64)


@given(pairs)
def test_a_cosine_is_that_of_the_slow_twin(rows):
    one, other = map(list, zip(*rows, strict=True))
    found = cosine(doubles(one), doubles(other)).item()
    assert found == pytest.approx(twins.cosine(one, other), rel=1e-9, abs=1e-12, nan_ok=True)


def test_a_cosine_is_that_of_scipy():
    torch.manual_seed(0)
    one, other = torch.randn(2, 1000).double()
    expected = 1 - distance.cosine(one.numpy(), other.numpy())
    assert cosine(one, other).item() == pytest.approx(expected, rel=1e-12)


@given(pairs, st.floats(1e-6, 1e6))
def test_lengths_do_not_matter_and_a_sign_turns_it(rows, factor):
    one, other = map(doubles, zip(*rows, strict=True))
    assert cosine(one * factor, other).item() == pytest.approx(
        cosine(one, other).item(), abs=1e-9, nan_ok=True
    )
    assert cosine(-one, other).item() == pytest.approx(-cosine(one, other).item(), nan_ok=True)


def test_one_direction_gives_exactly_one_and_never_more():
    torch.manual_seed(0)
    for vector in torch.randn(200, 7):
        assert 1 - 1e-12 <= cosine(vector, vector).item() <= 1


def test_a_vector_without_a_direction_has_no_cosine():
    unit = torch.tensor([1.0, 0.0])
    for nowhere in (torch.zeros(2), torch.tensor([math.nan, 1]), torch.tensor([math.inf, 1])):
        assert cosine(unit, nowhere).isnan()
        assert cosine(nowhere, unit).isnan()
    assert cosine(torch.zeros(0), torch.zeros(0)).isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_too_small_to_be_squared_in_single_precision_keep_their_angle(dtype):
    size = 1e-30 if dtype != torch.float16 else 6e-8
    one = torch.tensor([size, 0], dtype=dtype)
    assert cosine(one, one.roll(1) + one).item() == pytest.approx(2**-0.5, rel=1e-6)


def test_many_entries_are_summed_in_double_precision():
    # In single precision a sum of ones stands still at 2 ** 24.
    count = 2**24 + 2**20
    one = torch.ones(count)
    other = one.clone()
    other[: count // 2] = -1
    other[0] = 1
    assert cosine(one, other).item() == pytest.approx(2 / count, rel=1e-9)


def test_pieces_make_no_difference(monkeypatch):
    torch.manual_seed(0)
    one, other = torch.randn(2, 100)
    whole = cosine(one, other).item()
    monkeypatch.setattr(gradients, "_PIECE", 7)
    assert cosine(one, other).item() == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (torch.ones(2, 1), torch.ones(2), r"one must be \(entries,\); got \(2, 1\)"),
        (torch.ones(2), torch.ones(3), r"other must be \(2,\); got \(3,\)"),
    ],
)
def test_other_shapes_are_refused(one, other, message):
    with pytest.raises(SettingError, match=message):
        cosine(one, other)
