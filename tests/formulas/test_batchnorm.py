import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import (
    CRITERIA,
    abnormal_channels,
    constant_channels,
    dead_probability,
    dead_rate,
)
from tests.formulas import twins
from tests.golden import NUMBERS

GOLDEN = NUMBERS["bn_scan"]
sizes = st.sampled_from([0.0, 1e-45, 1e-40, 1e-12, 1e-10, 3e-6, 2e-5, 1e-2, 0.5, 1.0])
parameters = st.builds(lambda size, sign: size * sign, sizes, st.sampled_from([-1.0, 1.0]))
layers = st.lists(st.tuples(parameters, parameters), min_size=1, max_size=12)
criteria = st.sampled_from(CRITERIA)
thresholds = st.sampled_from([1e-40, 1e-10, 2e-5, 1e-2])


def columns(pairs, dtype=torch.float64):
    weight, bias = zip(*pairs, strict=True)
    return torch.tensor(weight, dtype=dtype), torch.tensor(bias, dtype=dtype)


@pytest.mark.parametrize("case", [key for key in GOLDEN if "@" in key])
def test_abnormal_channels_are_the_golden_ones(case):
    criterion, threshold = case.split("@")
    weight, bias = torch.tensor(GOLDEN["gamma"]), torch.tensor(GOLDEN["beta"])
    found = abnormal_channels(weight, bias, float(threshold), criterion)
    marks, share = GOLDEN[case]
    assert found.int().tolist() == marks
    assert found.double().mean().item() == pytest.approx(share)


@given(layers, thresholds, st.sampled_from(["pair", "gamma"]))
def test_abnormal_channels_are_those_of_the_slow_twin(pairs, threshold, criterion):
    weight, bias = columns(pairs)
    found = abnormal_channels(weight, bias, threshold, criterion).tolist()
    assert found == twins.abnormal(weight.tolist(), bias.tolist(), threshold, criterion)


@given(layers, thresholds)
def test_the_relative_criterion_compares_with_numpy_s_median(pairs, threshold):
    weight, bias = columns(pairs)
    size = np.abs(weight.numpy())
    wanted = (size < threshold * np.median(size)) | (size == 0)
    found = abnormal_channels(weight, bias, threshold, "relative")
    assert found.tolist() == wanted.tolist()


@given(layers, criteria)
def test_a_higher_threshold_never_finds_fewer(pairs, criterion):
    found = [abnormal_channels(*columns(pairs), t, criterion) for t in (1e-40, 1e-10, 2e-5, 1e-2)]
    for lower, higher in pairwise(found):
        assert not (lower & ~higher).any()


@given(layers, thresholds)
def test_an_abnormal_pair_has_an_abnormal_weight(pairs, threshold):
    weight, bias = columns(pairs)
    pair = abnormal_channels(weight, bias, threshold, "pair")
    assert not (pair & ~abnormal_channels(weight, bias, threshold, "gamma")).any()


@given(layers, st.randoms(use_true_random=False), criteria)
def test_another_order_of_the_channels_only_orders_the_answer(pairs, chance, criterion):
    weight, bias = columns(pairs)
    order = list(range(len(pairs)))
    chance.shuffle(order)
    moved = abnormal_channels(weight[order], bias[order], 1e-5, criterion)
    assert moved.tolist() == abnormal_channels(weight, bias, 1e-5, criterion)[order].tolist()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_fresh_layer_is_healthy_and_zeroing_a_channel_finds_exactly_it(criterion):
    layer = torch.nn.BatchNorm2d(8)
    assert not abnormal_channels(layer.weight, layer.bias, criterion=criterion).any()
    with torch.no_grad():
        layer.weight[3] = layer.bias[3] = 0
    found = abnormal_channels(layer.weight, layer.bias, criterion=criterion)
    assert found.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_layer_of_zeros_is_wholly_abnormal(criterion):
    zeros = torch.zeros(4)
    assert abnormal_channels(zeros, zeros, 1e-10, criterion).all()


def test_a_threshold_below_single_precision_s_normal_numbers_holds():
    weight = torch.tensor([1e-41, 1e-39, 0.0])
    found = abnormal_channels(weight, torch.zeros(3), 1e-40)
    assert found.tolist() == [True, False, True]


def test_half_precision_has_lost_the_small_numbers():
    small = torch.tensor([1e-8, 1.0])
    assert abnormal_channels(small, small, 1e-10).tolist() == [False, False]
    assert abnormal_channels(small.half(), small.half(), 1e-10).tolist() == [True, False]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("weight", "bias"), [(math.nan, 1.0), (1.0, math.nan)])
def test_a_channel_with_a_nan_is_abnormal_and_hides_no_other(criterion, weight, bias):
    weights, biases = torch.tensor([weight, 1.0, 0.0]), torch.tensor([bias, 1.0, 0.0])
    found = abnormal_channels(weights, biases, 1e-2, criterion)
    assert found.tolist() == [True, False, True]


def test_a_nan_is_left_out_of_the_median():
    weight = torch.tensor([math.nan, 1.0, 1.0, 1e-9])
    found = abnormal_channels(weight, torch.zeros(4), 1e-2, "relative")
    assert found.tolist() == [True, False, False, True]


def test_settings_that_cannot_be_are_refused():
    one = torch.ones(3)
    with pytest.raises(
        SettingError, match=r"criterion='both' is not known\. Choose one of: 'pair'"
    ):
        abnormal_channels(one, one, criterion="both")
    with pytest.raises(SettingError, match="threshold must be above 0; got 0"):
        abnormal_channels(one, one, 0)
    with pytest.raises(SettingError, match=r"bias must be of the weight's shape, \(3,\); got \(2,"):
        abnormal_channels(one, one[:2])
    with pytest.raises(SettingError, match=r"weight must be \(channels,\); got \(3, 1\)"):
        dead_probability(one[:, None], one[:, None])


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_the_dead_probability_is_the_normal_distribution_s(weight, bias):
    found = dead_probability(*columns([(weight, bias)]))
    if weight == 0:
        assert found.item() == (bias <= 0)
    else:
        assert found.item() == pytest.approx(twins.normal_cdf(-bias / abs(weight)), abs=1e-12)


def test_the_dead_probability_is_the_share_of_zeros_behind_a_relu():
    weight, bias = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([0.0, 0.3, -1.0])
    normal = torch.randn(100_000, 3)
    seen = ((normal * weight + bias).relu() == 0).double().mean(0)
    torch.testing.assert_close(dead_probability(weight, bias), seen, atol=0.01, rtol=0)


def test_a_zero_weight_leaves_the_sign_of_the_bias():
    weight, bias = torch.zeros(4), torch.tensor([-1e-3, 0.0, 1e-3, math.nan])
    found = dead_probability(weight, bias)
    assert found[:3].tolist() == [1, 1, 0]
    assert found[3].isnan()


def test_a_channel_with_zero_weight_and_negative_bias_is_dead_for_any_input():
    layer = torch.nn.BatchNorm2d(2)
    with torch.no_grad():
        layer.weight[0], layer.bias[0] = 0, -1
    behind = layer(torch.randn(16, 2, 4, 4)).relu()
    assert dead_rate(behind).tolist() == [1, 0]
    assert dead_probability(layer.weight, layer.bias)[0] == 1


def test_constant_channels_have_a_small_weight_and_a_positive_bias():
    weight = torch.tensor([0.0, 0.0, 1e-3, 1.0, 1e-3, math.nan])
    bias = torch.tensor([0.2, -0.2, 0.2, 0.2, 5e-3, 0.2])
    found = constant_channels(weight, bias, 1e-2)
    assert found.tolist() == [True, False, True, False, False, False]


def test_no_channel_is_both_abnormal_by_pair_and_constant():
    weight, bias = torch.randn(1000) * 1e-2, torch.randn(1000) * 1e-2
    pair = abnormal_channels(weight, bias, 1e-2)
    constant = constant_channels(weight, bias, 1e-2)
    assert pair.any()
    assert constant.any()
    assert not (pair & constant).any()
