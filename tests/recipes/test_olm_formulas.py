"""OLM's formulas: golden numbers, slow twins, and what must hold whatever the losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens import formulas
from imbalance_lens.errors import SettingError
from recipes.olm import FORMS, LEAST, modulation_loss, rebalancing_factors
from tests.golden import NUMBERS

OLM, EDGE = NUMBERS["olm"], NUMBERS["olm_edge"]
LOGITS = [[[3, 4], [0, 1]], [[6, 8], [0, 5]], [[0, 2], [4, 3]]]
LOSS = st.floats(0.05, 5)


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def close(found, wanted, **tolerance):
    return found.tolist() == pytest.approx(wanted, **{"abs": 1.5e-6, **tolerance})


GIVEN = [tensor(OLM[name]) for name in ("L_tr0", "L_dev0", "L_tr", "L_dev")]


def losses(heads=3):
    row = st.lists(LOSS, min_size=heads, max_size=heads)
    return st.tuples(row, row, row, row).map(lambda rows: [tensor(row) for row in rows])


def by_hand(rows, form):
    """Eq. 6 to 8 head by head, in Python's own numbers."""
    gains, growths = [], []
    for train0, dev0, train, dev in zip(*(row.tolist() for row in rows), strict=True):
        if form == "paper":
            gains.append(abs(dev0 - dev))
            growths.append(max(abs(abs(dev - train) - abs(dev0 - train0)), 1e-8))
        elif form == "code":
            gains.append(max(dev0 - dev, 1e-6))
            growths.append(max(train0 - train - gains[-1], 1e-6))
        else:
            gains.append(max(dev0 - dev, 0))
            growths.append(max(dev - train - (dev0 - train0), 0))
    if form == "floored":
        floor = 0.05 * max(growths) + 1e-8
        ratios = [min(g / max(c, floor), 3) for g, c in zip(gains, growths, strict=True)]
    else:
        ratios = [g / c for g, c in zip(gains, growths, strict=True)]
    powers = [math.exp(ratio - max(ratios)) for ratio in ratios]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("form", FORMS)
def test_the_factors_are_the_golden_ones(form):
    assert close(rebalancing_factors(*GIVEN, form=form), OLM["lambda"])


@pytest.mark.parametrize(
    ("form", "key"),
    [("code", "G=[.5,.5],C=[0,.5] code"), ("floored", "ours ratio clipped to [0,3]: (3,1)")],
)
def test_a_head_whose_gap_did_not_grow_gets_everything_only_in_the_code(form, key):
    found = rebalancing_factors(
        tensor([1.0, 1.0]), tensor([1.0, 1.0]), tensor([0.5, 0.0]), tensor([0.5, 0.5]), form=form
    )
    assert close(found, EDGE[key])


@pytest.mark.parametrize("form", FORMS)
@given(rows=losses())
def test_the_factors_are_those_of_the_formula(form, rows):
    found = rebalancing_factors(*rows, form=form)
    assert close(found, by_hand(rows, form), abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
@given(rows=losses(heads=4))
def test_at_the_start_all_factors_are_equal(form, rows):
    train, dev, _, _ = rows
    assert close(rebalancing_factors(train, dev, train, dev, form=form), [0.25] * 4)


@given(rows=losses(), scale=st.floats(0.1, 10))
def test_floored_factors_are_positive_sum_to_one_and_know_no_unit(rows, scale):
    found = rebalancing_factors(*rows)
    assert (found > 0).all()
    assert found.sum().item() == pytest.approx(1)
    assert found.max() / found.min() <= math.exp(3) + 1e-9
    rescaled = rebalancing_factors(*[row * scale for row in rows])
    assert close(rescaled, found.tolist(), abs=1e-4)


def test_a_head_that_got_worse_is_rewarded_by_the_formula_as_printed_only():
    flat = tensor([1.0, 1.0])
    now = tensor([0.9, 0.9]), tensor([1.4, 0.95])
    printed = rebalancing_factors(flat, flat, *now, form="paper")
    floored = rebalancing_factors(flat, flat, *now)
    assert floored[0] < floored[1]
    assert printed[0] > floored[0]


def test_the_lengths_are_those_of_the_probe():
    norms = formulas.logit_norm(tensor(LOGITS).flatten(0, 1)).reshape(3, 2)
    assert norms.tolist() == OLM["||s|| [K,B]"]


@pytest.mark.parametrize(("key", "scaled"), [("paper", False), ("K-scaled", True)])
def test_the_loss_and_its_gradient_are_the_golden_ones(key, scaled):
    weights, wanted = tensor([1.0] * 3).requires_grad_(), OLM[key]
    norms, factors = tensor(OLM["||s|| [K,B]"]), rebalancing_factors(*GIVEN)
    loss = modulation_loss(weights, norms, factors, scale_targets=scaled)
    assert loss.item() == pytest.approx(wanted["L_logit"], abs=2e-5)
    (gradient,) = torch.autograd.grad(loss, weights)
    assert gradient.tolist() == wanted["dL/dw"]
    assert close(weights.detach() - 0.1 * gradient, wanted["w_after_SGD(lr=.1)"])


@given(
    weights=st.lists(st.floats(0.01, 3), min_size=3, max_size=3),
    norms=st.lists(st.lists(st.floats(0, 9), min_size=3, max_size=3), min_size=1, max_size=4),
    scaled=st.booleans(),
)
def test_the_loss_is_that_of_the_formula(weights, norms, scaled):
    factors = [0.5, 0.3, 0.2]
    total = 0.0
    for lengths in norms:
        weighted = [w * n for w, n in zip(weights, lengths, strict=True)]
        mean = sum(weighted) / 3 * (3 if scaled else 1)
        total += sum(abs(own - f * mean) for own, f in zip(weighted, factors, strict=True))
    found = modulation_loss(tensor(weights), tensor(norms).T, tensor(factors), scale_targets=scaled)
    assert found.item() == pytest.approx(total / len(norms), abs=1e-12)


def descended(scaled):
    norms, factors = tensor([[2.0], [5.0], [8.0]]), tensor([1 / 3] * 3)
    weights = tensor([1.0] * 3)
    for _ in range(6000):
        leaf = weights.clone().requires_grad_()
        loss = modulation_loss(leaf, norms, factors, scale_targets=scaled)
        weights = (weights - 1e-4 * torch.autograd.grad(loss, leaf)[0]).clamp_min(LEAST)
    return weights, weights * norms[:, 0]


def test_scaled_targets_even_out_the_lengths():
    _, lengths = descended(scaled=True)
    assert lengths.min() > 1
    assert lengths.max() - lengths.min() < 0.02


def test_without_scaling_all_coefficients_fall_to_the_least():
    weights, _ = descended(scaled=False)
    assert weights.max() < 10 * LEAST


def test_equal_lengths_and_factors_leave_nothing_to_learn():
    weights = tensor([2.0, 1.0, 0.5]).requires_grad_()
    norms = tensor([[1.0, 3.0], [2.0, 6.0], [4.0, 12.0]])
    loss = modulation_loss(weights, norms, tensor([1.0] * 3) / 3)
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_the_gradient_reaches_the_coefficients_only():
    norms, factors = torch.ones(2, 3, requires_grad=True), torch.ones(2, requires_grad=True)
    weights = torch.tensor([1.0, 2.0], requires_grad=True)
    modulation_loss(weights, norms, factors).backward()
    assert weights.grad is not None
    assert norms.grad is None
    assert factors.grad is None


def test_misshapen_numbers_and_unknown_forms_are_refused():
    two, three = torch.ones(2), torch.ones(3)
    with pytest.raises(SettingError, match=r"train must be \(heads,\), the same for all losses"):
        rebalancing_factors(two, two, three, two)
    with pytest.raises(SettingError, match="form='signed' is not known"):
        rebalancing_factors(two, two, two, two, form="signed")
    with pytest.raises(SettingError, match=r"norms must be \(2, batch\); got \(3, 1\)"):
        modulation_loss(two, torch.ones(3, 1), two)
    with pytest.raises(SettingError, match="factors must be like coefficients"):
        modulation_loss(two, torch.ones(2, 1), three)
