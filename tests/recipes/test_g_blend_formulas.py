"""G-Blend: weights as the paper has them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from recipes.g_blend import (
    blend_weights,
    correlated_weights,
    super_epochs,
)

from ..golden import NUMBERS
from .blends import numbers, terms


def test_weights_are_the_golden_ones():
    golden = NUMBERS["gblend"]
    gained, paid = terms(golden["L (T_N,V_N,T_N+n,V_N+n)"])
    assert gained == pytest.approx(golden["G"])
    assert paid == pytest.approx(golden["O"])
    assert numbers(blend_weights(gained, paid)) == pytest.approx(golden["w"], abs=1e-6)
    assert numbers(blend_weights(gained, paid, raw=True)) == pytest.approx(golden["w"], abs=1e-6)


@pytest.mark.parametrize("floor", [0.1, 0.01])
def test_a_head_that_got_worse_gets_nothing_and_one_without_overfitting_not_all(floor):
    golden = NUMBERS["gblend_edge"]
    wanted = golden[f"safe(kappa={str(floor).lstrip('0')})"]
    found = numbers(blend_weights(*terms(golden["L"]), floor=floor))
    assert found == pytest.approx(wanted, abs=1e-6)


def test_all_weights_are_equal_where_no_head_got_better():
    golden = NUMBERS["gblend_edge"]["all G<=0"]
    found = blend_weights({"a": -0.3, "v": 0.0}, {"a": 1.0, "v": 0.1})
    assert numbers(found) == golden


def test_raw_weights_are_the_equation_as_it_stands():
    gained, paid = {"a": -1.0, "j": 3.0}, {"a": 1.0, "j": 1.0}
    assert numbers(blend_weights(gained, paid, raw=True)) == {"a": -0.5, "j": 1.5}
    assert numbers(blend_weights(gained, paid)) == {"a": 0.0, "j": 1.0}


amounts = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=6))
def test_weights_are_never_negative_and_sum_to_one_in_any_order(pairs):
    gained = {f"head {k}": gain for k, (gain, _) in enumerate(pairs)}
    paid = {f"head {k}": price for k, (_, price) in enumerate(pairs)}
    found = numbers(blend_weights(gained, paid))
    assert min(found.values()) >= 0
    assert sum(found.values()) == pytest.approx(1)
    turned = numbers(blend_weights(dict(reversed(gained.items())), paid))
    assert turned == pytest.approx(found)
    assert numbers(
        blend_weights({n: 8 * g for n, g in gained.items()}, {n: 8 * p for n, p in paid.items()})
    ) == pytest.approx(found)


@given(amounts, amounts, st.integers(1, 7))
def test_heads_that_are_the_same_weigh_the_same(gain, price, count):
    names = [f"head {k}" for k in range(count)]
    found = blend_weights(dict.fromkeys(names, gain), dict.fromkeys(names, price))
    assert list(numbers(found).values()) == pytest.approx([1 / count] * count, rel=1e-15)
    assert len(set(numbers(found).values())) == 1


@pytest.mark.parametrize("where", ["gained", "paid"])
def test_what_is_no_number_is_not_hidden(where):
    gained, paid = {"a": -1.0, "j": 3.0}, {"a": 1.0, "j": 1.0}
    (gained if where == "gained" else paid)["a"] = float("nan")
    assert all(np.isnan(w) for w in numbers(blend_weights(gained, paid)).values())
    overlap = torch.diag(torch.tensor(list(paid.values())))
    assert all(np.isnan(w) for w in numbers(correlated_weights(gained, overlap)).values())


def test_correlated_weights_are_the_golden_ones():
    golden = NUMBERS["gblend_corr"]
    gain = dict(zip("ab", golden["g=<gradL*,v>"], strict=True))
    overlap = torch.tensor(golden["Sigma"])
    for signed in (False, True):
        found = numbers(correlated_weights(gain, overlap, signed=signed))
        assert list(found.values()) == pytest.approx(golden["w_corr (sum1)"])
    ratio = squared_ratio(torch.tensor(list(found.values())), gain, overlap)
    assert ratio == pytest.approx(golden["OGR2 at w_corr"], abs=1e-6)


def squared_ratio(weights, gain, overlap):
    g = torch.tensor(list(gain.values()), dtype=torch.float64)
    w = weights.double()
    return (torch.einsum("...i,ij,...j->...", w, overlap.double(), w) / (w @ g) ** 2).numpy()


@pytest.mark.parametrize("seed", range(8))
def test_no_random_weights_have_a_lower_ratio_than_the_correlated_ones(seed):
    draw = torch.Generator().manual_seed(seed)
    half = torch.randn(4, 4, generator=draw, dtype=torch.float64)
    overlap = half @ half.T + 0.01 * torch.eye(4)
    gain = dict(zip("abcd", torch.randn(4, generator=draw).add(0.5).tolist(), strict=True))
    tried = torch.randn(5000, 4, generator=draw, dtype=torch.float64)
    for signed, others in ((True, tried), (False, tried.abs())):
        best = torch.stack(list(correlated_weights(gain, overlap, signed=signed).values()))
        assert best.sum().item() == pytest.approx(1)
        assert signed or best.min() >= 0
        others = others[others @ torch.tensor(list(gain.values()), dtype=torch.float64) > 0]
        lowest = squared_ratio(others, gain, overlap).min()
        assert squared_ratio(best, gain, overlap) <= lowest * (1 + 1e-9)


def test_super_epochs_are_the_golden_ones():
    golden = NUMBERS["gblend_sched"]
    assert [list(s) for s in super_epochs(45)] == golden["N=45,warm=10,n=5"]
    assert [list(s) for s in super_epochs(12)] == golden["N=12,warm=10,n=5"]
    assert super_epochs(3) == [(0, 3)]


def test_formulas_refuse_what_they_cannot_use():
    with pytest.raises(SettingError, match=r"overfitting must have the heads \['a'\]; got \['b'\]"):
        blend_weights({"a": 1.0}, {"b": 1.0})
    with pytest.raises(SettingError, match="names no head"):
        blend_weights({}, {})
    with pytest.raises(SettingError, match="floor must be above 0"):
        blend_weights({"a": 1.0}, {"a": 1.0}, floor=0)
    with pytest.raises(SettingError, match="covariance must be"):
        correlated_weights({"a": 1.0}, torch.eye(2))
    with pytest.raises(SettingError, match="positive definite"):
        correlated_weights({"a": 1.0, "b": 1.0}, torch.ones(2, 2))
