import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import centered_logit_norm, logit_norm, split_logits, true_class_logit
from tests.formulas import twins
from tests.golden import NUMBERS

GOLDEN_SPLIT = NUMBERS["split"]
widths = st.lists(st.integers(1, 4), min_size=2, max_size=5)


def golden_head():
    features = {"1": torch.tensor(GOLDEN_SPLIT["phi1"]), "2": torch.tensor(GOLDEN_SPLIT["phi2"])}
    weight = torch.cat([torch.tensor(GOLDEN_SPLIT["W1"]), torch.tensor(GOLDEN_SPLIT["W2"])], 1)
    return features, weight, torch.tensor(GOLDEN_SPLIT["b"])


def random_head(sizes, classes=3, batch=4):
    features = {f"m{i}": torch.randn(batch, n).double() for i, n in enumerate(sizes)}
    return features, torch.randn(classes, sum(sizes)).double(), torch.randn(classes).double()


def test_the_parts_of_the_logits_are_the_golden_ones():
    parts = split_logits(*golden_head())
    torch.testing.assert_close(parts["1"], torch.tensor(GOLDEN_SPLIT["logits1"]))
    torch.testing.assert_close(parts["2"], torch.tensor(GOLDEN_SPLIT["logits2"]))


def test_the_whole_bias_for_each_gives_the_golden_zero_out_logits():
    parts = split_logits(*golden_head(), bias_share=1.0)
    wanted = torch.tensor(GOLDEN_SPLIT["zero_out logits1 (full b)"])
    torch.testing.assert_close(parts["1"], wanted)


@given(widths)
def test_the_parts_sum_to_the_logits_of_the_slow_twin(sizes):
    features, weight, bias = random_head(sizes)
    parts = split_logits(features, weight, bias)
    rows = torch.cat(list(features.values()), 1).tolist()
    whole = [twins.linear(row, weight.tolist(), bias.tolist()) for row in rows]
    torch.testing.assert_close(
        torch.stack(list(parts.values())).sum(0), torch.tensor(whole).double()
    )


@given(st.permutations(["a", "b", "c"]))
def test_another_order_of_the_modalities_gives_the_same_parts(order):
    features = {name: torch.randn(2, size).double() for size, name in enumerate("abc", 1)}
    blocks = {name: torch.randn(4, feature.shape[1]).double() for name, feature in features.items()}
    bias = torch.randn(4).double()
    plain = split_logits(features, torch.cat(list(blocks.values()), 1), bias)
    moved = split_logits(
        {name: features[name] for name in order}, torch.cat([blocks[n] for n in order], 1), bias
    )
    for name in order:
        torch.testing.assert_close(moved[name], plain[name])


def test_shares_of_the_bias_can_be_given_by_modality():
    features, weight, bias = golden_head()
    parts = split_logits(features, weight, bias, bias_share={"1": 1.0, "2": 0.0})
    without = split_logits(features, weight, None)
    torch.testing.assert_close(parts["1"], without["1"] + bias)
    torch.testing.assert_close(parts["2"], without["2"])


def test_nan_features_stay_in_the_part_of_their_modality():
    features, weight, bias = golden_head()
    features["2"] = features["2"] * math.nan
    parts = split_logits(features, weight, bias)
    assert parts["1"].isfinite().all()
    assert parts["2"].isnan().all()


def test_half_precision_features_meet_a_single_precision_head():
    features, weight, bias = golden_head()
    halves = {name: feature.half() for name, feature in features.items()}
    assert split_logits(halves, weight, bias)["1"].dtype is torch.float32
    assert split_logits(halves, weight.half(), bias.half())["1"].dtype is torch.float32


def test_a_head_that_does_not_fit_is_refused():
    features, weight, bias = golden_head()
    with pytest.raises(SettingError, match=r"weight must be \(classes, 3\), as the features are"):
        split_logits(features, weight[:, :2], bias)
    with pytest.raises(SettingError, match=r"bias must be \(3,\); got \(2,\)"):
        split_logits(features, weight, bias[:2])
    with pytest.raises(SettingError, match=r"features of '1' must be \(batch, width\)"):
        split_logits({**features, "1": torch.zeros(2, 2, 2)}, weight, bias)
    with pytest.raises(SettingError, match="bias_share must have the modalities"):
        split_logits(features, weight, bias, bias_share={"1": 1.0})
    with pytest.raises(SettingError, match="Two or more modalities"):
        split_logits({"1": features["1"]}, weight[:, :2], bias)


def test_norms_and_true_class_logits_are_the_golden_ones():
    golden = NUMBERS["logit_norm"]
    logits, labels = torch.tensor(golden["logits"]), torch.tensor(golden["y"])
    assert logit_norm(logits).tolist() == pytest.approx(golden["norm"])
    assert logit_norm(logits).mean().item() == pytest.approx(golden["batch mean"], abs=1e-6)
    found = centered_logit_norm(logits).tolist()
    assert found == pytest.approx(golden["centred norm"], abs=1e-6)
    mean = true_class_logit(logits, labels).mean().item()
    assert mean == pytest.approx(golden["mean true-class logit"])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), st.floats(-50, 50))
def test_scaling_the_logits_scales_both_norms(row, factor):
    logits = torch.tensor([row], dtype=torch.float64)
    for norm in (logit_norm, centered_logit_norm):
        torch.testing.assert_close(norm(factor * logits), abs(factor) * norm(logits))


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=8))
def test_the_centered_norm_is_that_of_the_slow_twin(row):
    mean = math.fsum(row) / len(row)
    wanted = math.sqrt(math.fsum((value - mean) ** 2 for value in row))
    assert centered_logit_norm(torch.tensor([row])).item() == pytest.approx(wanted, abs=1e-4)


def test_the_centered_norm_survives_a_large_offset_in_single_precision():
    logits = torch.tensor([[0.0, 0.25, 1.0], [1e4, 1e4 + 0.25, 1e4 + 1.0]])
    plain, moved = centered_logit_norm(logits).tolist()
    assert moved == pytest.approx(plain, rel=1e-6)
    assert moved == pytest.approx(math.sqrt(0.25**2 + 1 - 1.25**2 / 3), rel=1e-6)


@given(st.floats(-1e5, 1e5, width=32), st.integers(1, 50))
def test_equal_logits_have_no_centered_norm_at_all(logit, classes):
    assert centered_logit_norm(torch.full((1, classes), logit)).item() == 0


def test_the_norm_of_half_precision_logits_does_not_overflow():
    logits = torch.full((1, 4), 60000.0, dtype=torch.float16)
    assert logit_norm(logits).item() == pytest.approx(2 * 59968, rel=1e-3)


def test_nan_reaches_the_norm_of_its_example_only_and_one_class_has_no_centered_norm():
    logits = torch.tensor([[math.nan, 1.0], [3.0, 4.0]])
    assert logit_norm(logits).isnan().tolist() == [True, False]
    assert centered_logit_norm(torch.tensor([[7.0]])).tolist() == [0.0]


@pytest.mark.parametrize("norm", [logit_norm, centered_logit_norm])
def test_norms_refuse_logits_of_another_shape(norm):
    with pytest.raises(SettingError, match=r"logits must be \(batch, classes\); got \(3,\)"):
        norm(torch.zeros(3))


def test_the_true_class_logit_keeps_double_precision():
    logits = torch.tensor([[1 + 1e-12, 0.0]], dtype=torch.float64)
    assert true_class_logit(logits, torch.tensor([0])).item() == 1 + 1e-12
