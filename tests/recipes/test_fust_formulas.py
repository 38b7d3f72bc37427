"""The formulas of FusT: which share of an example is hidden, what fusion without training says."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from imbalance_lens.errors import SettingError
from imbalance_lens.testing import planted
from recipes.fust import count_flops, decision_fusion, flops_ratio, mask_ratio
from tests.golden import NUMBERS

GOLDEN = NUMBERS["fust"]
RHO = dict(zip(("audio", "visual"), GOLDEN["rho"], strict=True))
ETA = dict(zip(("audio", "visual"), GOLDEN["eta"], strict=True))


def wide(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


SURE = {"audio": wide(*GOLDEN["c_a"]), "visual": wide(*GOLDEN["c_v"])}


def near(found: Tensor, wanted: list[float]) -> bool:
    return torch.allclose(found, wide(*wanted), atol=1e-6, rtol=0)


def test_the_ratios_are_the_golden_ones():
    found = mask_ratio(SURE, RHO, ETA, GOLDEN["t"])
    assert near(found["audio"], GOLDEN["m_a"])
    assert near(found["visual"], GOLDEN["m_v"])
    assert (found["audio"] * 512).floor().tolist() == GOLDEN["patches_a(of 512)"]
    assert (found["visual"] * 484).floor().tolist() == GOLDEN["patches_v(of 484)"]
    assert near(torch.stack([found["audio"].mean(), found["visual"].mean()]), GOLDEN["FusT-mean"])


def test_three_modalities_have_the_golden_ratios():
    golden = NUMBERS["fust_M3"]
    sure = {name: wide(c) for name, c in zip("abc", golden["c"], strict=True)}
    found = mask_ratio(sure, 1.0, 1.0, 0.2)
    assert near(torch.cat(list(found.values())), golden["m (rho=eta=1)"])


def test_the_authors_ratios_are_the_golden_ones():
    found = mask_ratio(SURE, RHO, ETA, GOLDEN["t"], official_quirk=True)
    assert near(found["audio"], GOLDEN["official_code_a(neg=>no mask)"])
    assert near(found["visual"], GOLDEN["official_code_v"])
    means = torch.stack([found["audio"].mean(), found["visual"].mean()])
    assert near(means, GOLDEN["official_FusT-mean(incl. negatives)"])


def test_the_authors_ratios_never_hide_anything_of_the_second_modality():
    torch.manual_seed(0)
    sure = {"audio": torch.rand(20_000), "visual": torch.rand(20_000)}
    found, quirky = mask_ratio(sure), mask_ratio(sure, official_quirk=True)
    assert (found["visual"] > 0).any()
    assert not (quirky["visual"] > 0).any()
    assert torch.equal(quirky["audio"].clamp_min(0), found["audio"])


unit = st.floats(0, 1)
rows = st.lists(st.tuples(unit, unit), min_size=1, max_size=8)


def slow(own: float, other: float, rho: float, eta: float, t: float) -> float:
    return rho * math.tanh(eta * (own - other)) if own > other and other > t else 0.0


@given(rows, unit, st.floats(0, 4), unit)
def test_two_modalities_follow_equation_4(examples, rho, eta, t):
    sure = {"a": wide(*(a for a, _ in examples)), "v": wide(*(v for _, v in examples))}
    found = mask_ratio(sure, {"a": rho, "v": rho / 2}, {"a": eta, "v": eta + 1}, t)
    for place, (a, v) in enumerate(examples):
        assert found["a"][place].item() == pytest.approx(slow(a, v, rho, eta, t), abs=1e-12)
        assert found["v"][place].item() == pytest.approx(slow(v, a, rho / 2, eta + 1, t), abs=1e-12)
    assert not ((found["a"] > 0) & (found["v"] > 0)).any()


@given(st.lists(st.tuples(unit, unit, unit), min_size=1, max_size=6))
def test_the_order_of_modalities_does_not_matter(examples):
    columns = [wide(*column) for column in zip(*examples, strict=True)]
    sure = dict(zip("abc", columns, strict=True))
    back = mask_ratio({name: sure[name] for name in "cba"})
    for name, ratio in mask_ratio(sure).items():
        assert torch.allclose(ratio, back[name], atol=1e-12)
        assert ((ratio >= 0) & (ratio <= math.tanh(1))).all()


def test_equal_confidences_and_unsure_others_hide_nothing():
    sure = {"a": wide(0.7, 0.9), "v": wide(0.7, 0.2)}
    assert not any(ratio.any() for ratio in mask_ratio(sure).values())


def test_one_unsure_modality_among_the_others_is_enough_to_hide_nothing():
    sure = {"a": wide(0.9), "b": wide(0.8), "c": wide(0.1)}
    assert not any(ratio.any() for ratio in mask_ratio(sure).values())


def test_a_confidence_that_is_no_number_makes_ratios_that_are_none():
    found = mask_ratio({"a": wide(math.nan, 0.9, 0.9), "v": wide(0.5, math.nan, 0.5)})
    for ratio in found.values():
        assert ratio.isnan().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": {"a": 1.0}}, "rho must have the modalities"),
        ({"eta": {"a": 1.0, "b": 1.0}}, "eta must have the modalities"),
    ],
)
def test_numbers_for_other_modalities_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        mask_ratio({"a": wide(0.5), "v": wide(0.5)}, **settings)


def test_the_authors_ratios_are_of_two_modalities():
    with pytest.raises(SettingError, match="for two modalities; got a, b, c"):
        mask_ratio({name: wide(0.5) for name in "abc"}, official_quirk=True)
    with pytest.raises(SettingError, match="Two or more modalities"):
        mask_ratio({"a": wide(0.5)})


def test_decision_fusion_gives_the_golden_probabilities():
    golden = NUMBERS["decision_fusion"]
    logits = {"a": wide(*golden["logits_a"])[None], "v": wide(*golden["logits_v"])[None]}
    assert near(decision_fusion(logits)[0], golden["p"])


def test_decision_fusion_of_a_model_with_itself_is_that_model():
    torch.manual_seed(0)
    logits = torch.randn(5, 4)
    assert torch.equal(decision_fusion({"a": logits, "b": logits}), logits.softmax(1))


@pytest.mark.parametrize(
    ("joint", "encoders", "epochs", "fusion", "joint_epochs", "wanted"),
    [
        (1.02e10, (4.77e9, 5.48e9), (40, 80), 20, 60, 1.36),
        (2.36e10, (5.17e9, 1.85e10), (40, 50), 30, 50, 1.56),
        (1.10e10, (5.48e9, 5.48e9), (20, 80), 20, 50, 1.40),
    ],
)
def test_costs_are_those_of_the_paper_s_table_8(
    joint, encoders, epochs, fusion, joint_epochs, wanted
):
    found = flops_ratio(
        joint,
        dict(zip("ab", encoders, strict=True)),
        unimodal_epochs=dict(zip("ab", epochs, strict=True)),
        fusion_epochs=fusion,
        joint_epochs=joint_epochs,
    )
    assert round(found, 2) == wanted


def test_measuring_costs_a_third_of_the_first_stage():
    costs = {"unimodal_epochs": 3, "fusion_epochs": 2, "joint_epochs": 4}
    assert flops_ratio(2.0, {"a": 1.0, "b": 1.0}, **costs) == (6 + 4) / 8
    assert flops_ratio(2.0, {"a": 1.0, "b": 1.0}, **costs, measured=True) == (8 + 4) / 8


def test_operations_are_counted_per_encoder_and_as_a_whole():
    model, loader = planted("a", ("a", "b", "c"), batch_size=8)
    inputs, _ = next(iter(loader))
    before = {name: p.clone() for name, p in model.named_parameters()}
    whole, parts = count_flops(model, inputs)
    encoder = 2 * 8 * 4 * 4
    assert parts == dict.fromkeys("abc", encoder)
    assert whole == 3 * encoder + 2 * 8 * 12 * 4
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
