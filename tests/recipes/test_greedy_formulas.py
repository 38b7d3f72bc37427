"""The formulas of greedy: learning speeds, how they compare, and who is chosen."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from imbalance_lens.errors import SettingError
from recipes.greedy import Greedy, conditional_speed, learning_speed, to_rebalance

numbers = st.floats(-5, 5).filter(lambda value: abs(value) > 0.01)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6), st.floats(0.1, 10))
def test_a_learning_speed_is_gradients_by_weights_and_has_no_unit(pairs, scale):
    weights = [torch.tensor([w], dtype=torch.float64, requires_grad=True) for w, _ in pairs]
    for weight, (_, gradient) in zip(weights, pairs, strict=True):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
    slow = sum(g * g for _, g in pairs) / sum(w * w for w, _ in pairs)
    assert learning_speed(weights).item() == pytest.approx(slow)
    for weight in weights:
        weight.data *= scale
        weight.grad *= scale  # pyright: ignore[reportOperatorIssue]
    assert learning_speed(weights).item() == pytest.approx(slow)


def test_what_has_no_gradient_does_not_learn():
    still, moving = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(1))
    moving.grad = torch.tensor([2.0])
    assert learning_speed([still]) == 0
    assert learning_speed([still, moving]).item() == pytest.approx(1)
    moving.grad = torch.tensor([2.0]).to_sparse()
    assert learning_speed([still, moving]).item() == pytest.approx(1)


def test_half_precision_does_not_overflow():
    weight = nn.Parameter(torch.full((4096,), 100.0, dtype=torch.float16))
    weight.grad = torch.full((4096,), 1000.0, dtype=torch.float16)
    assert learning_speed([weight]).item() == pytest.approx(100)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5), st.floats(0, 2), st.floats(0, 2))
def test_one_at_most_is_chosen_and_a_larger_tolerance_chooses_no_more(speeds, alpha, more):
    values = torch.tensor(speeds, dtype=torch.float64)
    chosen = to_rebalance(values, alpha)
    assert chosen.sum() == (max(speeds) - min(speeds) > alpha)
    assert not chosen.any() or values[chosen] == values.max()
    assert to_rebalance(values, alpha + more).sum() <= chosen.sum()
    assert not to_rebalance(values, math.inf).any()


def test_a_speed_that_is_no_number_chooses_nobody():
    assert not to_rebalance(torch.tensor([0.0, torch.nan]), 0.0).any()
    assert conditional_speed(torch.ones(2), torch.ones(2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"alpha": -0.1}, "alpha must be 0 or more; got -0.1"),
        ({"alpha": math.nan}, "alpha must be 0 or more; got nan"),
        ({"window": 0}, "window must be a whole number above 0; got 0"),
        ({"warmup": -1}, "warmup must be a whole number, 0 or above; got -1"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        Greedy(**settings)
