from collections.abc import Mapping
from itertools import product
from statistics import fmean

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.observation import Observation
from imbalance_lens.probes.missing_modality import MissingModality

from .heads import Asked, nonlinear, seeing, stored_bytes
from .world import World

NAMES = ("audio", "visual", "text")


def answer(*seen: Observation, **settings) -> xr.Dataset:
    probe = MissingModality(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def expected(seen: Observation, rates: Mapping[str, float], *, some: bool = False) -> float:
    """The mean accuracy over every way in which modalities can be missing."""
    total = weight = 0.0
    for there in product((True, False), repeat=len(seen.modalities)):
        present = {m for m, is_there in zip(seen.modalities, there, strict=True) if is_there}
        if some and not present:
            continue
        chance = 1.0
        for name, rate in rates.items():
            chance *= 1 - rate if name in present else rate
        logits = seen.coalitions(present)
        right = (row.argmax() == label for row, label in zip(logits, seen.labels, strict=True))
        total += chance * fmean(map(float, right))
        weight += chance
    return total / weight


@pytest.mark.parametrize("names", [("a", "b"), NAMES])
def test_the_curves_are_sums_over_all_ways_to_be_missing(names):
    seen = seeing(*nonlinear(names, examples=25))
    found = answer(seen, rates=(0.0, 0.3, 0.9, 1.0))
    for rate in map(float, found["rate"].values):
        at = found.sel(rate=rate)
        every: dict[str, float] = dict.fromkeys(names, rate)
        assert at["all_accuracy"].item() == pytest.approx(expected(seen, every))
        if rate < 1:
            assert at["some_accuracy"].item() == pytest.approx(expected(seen, every, some=True))
        for name in names:
            one: dict[str, float] = {**dict.fromkeys(names, 0.0), name: rate}
            assert at["accuracy"].sel(modality=name).item() == pytest.approx(expected(seen, one))


def test_one_modality_missing_is_a_straight_line_to_the_model_without_it():
    seen = seeing(*nonlinear(NAMES))
    rates = np.linspace(0, 1, 6)
    found = answer(seen, rates=rates.tolist())
    confidence = {
        present: seen.coalitions(present).softmax(1)[torch.arange(12), seen.labels].mean().item()
        for present in (frozenset(NAMES), frozenset(("visual", "text")))
    }
    everyone, rest = confidence.values()
    line = (1 - rates) * everyone + rates * rest
    np.testing.assert_allclose(found["confidence"].sel(modality="audio"), line, rtol=1e-6)


def test_dice_come_to_the_same_as_the_sum():
    torch.manual_seed(0)
    head, features, labels = nonlinear(NAMES, examples=100)
    found = answer(seeing(head, features, labels), rates=(0.4,))
    right = []
    for _ in range(300):
        dropped = {m: x * (torch.rand(100, 1) >= 0.4) for m, x in features.items()}
        right.append((head(dropped).argmax(1) == labels).double().mean().item())
    deviation = np.std(right) / np.sqrt(300)
    assert found["all_accuracy"].item() == pytest.approx(fmean(right), abs=4 * deviation)


@given(st.integers(0, 1000))
def test_the_ends_of_the_curves_are_the_model_and_the_model_without(seed):
    seen = seeing(*nonlinear(NAMES, seed=seed))
    found = answer(seen, rates=(0.0, 1.0), resamples=10)
    right = (seen.logits.argmax(1) == seen.labels).double().mean().item()
    none = (seen.coalitions(()).argmax(1) == seen.labels).double().mean().item()
    for name in ("accuracy", "all_accuracy", "some_accuracy"):
        np.testing.assert_allclose(found[name].sel(rate=0), right)
    np.testing.assert_allclose(found["all_accuracy"].sel(rate=1), none)
    assert found["some_accuracy"].sel(rate=1).isnull()  # there is always nothing left


def test_rarely_missing_for_sure_something_left_is_better_than_that_by_what_none_costs():
    seen = seeing(*nonlinear(NAMES))
    found = answer(seen)
    none = (seen.coalitions(()).argmax(1) == seen.labels).double().mean().item()
    share = found["rate"] ** 3
    together = (1 - share) * found["some_accuracy"] + share * none
    np.testing.assert_allclose(together, found["all_accuracy"])


@pytest.mark.parametrize(("count", "passes"), [(2, 3), (3, 7), (9, 9)])
def test_each_set_is_asked_for_once(count, passes):
    names = tuple("abcdefghi"[:count])
    asked: Asked = []
    found = answer(seeing(*nonlinear(names), asked=asked))
    assert len(asked) == len(set(asked)) == passes
    assert found.attrs["exact"] == ("true" if count < 9 else "false")
    for name in ("all_accuracy", "some_accuracy", "all_confidence_interval"):
        assert found[name].isnull().all() == (count == 9)
    assert found["accuracy"].notnull().all()


def test_sets_beyond_the_limit_can_be_asked_for():
    seen = seeing(*nonlinear(tuple("abcdefghi"), examples=4))
    found = answer(seen, rates=(0.2,), exact_up_to=9)
    wanted = expected(seen, dict.fromkeys(seen.modalities, 0.2))
    assert found["all_accuracy"].item() == pytest.approx(wanted)


def test_the_intervals_hold_the_curves_and_narrow_to_none_without_variation():
    found = answer(World(NAMES, examples=50).see())
    for name in ("accuracy", "confidence", "all_accuracy", "some_confidence"):
        ends = found[f"{name}_interval"]
        assert (ends.sel(bound="low") <= found[name] + 1e-12).all()
        assert (found[name] <= ends.sel(bound="high") + 1e-12).all()
    same = {"a": torch.tensor([[1.0, 0.0]]).expand(9, 2), "b": torch.zeros(9, 2)}
    alike = answer(seeing(lambda given: given["a"] + given["b"], same, torch.zeros(9).long()))
    ends = alike["all_confidence_interval"]
    np.testing.assert_allclose(ends.sel(bound="low"), ends.sel(bound="high"))


def test_nan_reaches_only_the_curves_on_which_it_can_be_met():
    labels = torch.tensor([0, 1])
    features = {"a": torch.eye(2), "b": torch.zeros(2, 2)}

    def head(given):
        heard = given["a"].abs().sum() > 0
        return given["a"] + given["b"] if heard else torch.full((2, 2), torch.nan)

    found = answer(seeing(head, features, labels), rates=(0.0, 0.5))
    a, b = (found["confidence"].sel(modality=name) for name in "ab")
    assert a.isnull().values.tolist() == [False, True]
    assert b.notnull().all()
    assert found["accuracy"].sel(modality="a").values.tolist() == [1, 0.5]


def test_the_bytes_per_example_are_those_of_the_docstring():
    probe = MissingModality()
    probe.observe(World(NAMES).see())
    assert stored_bytes(probe) == 24 * 5 * 8


@pytest.mark.parametrize(
    "rates", [(), (-0.1,), (0.5, 1.5), (0.3, 0.2), (0.2, 0.2), (float("nan"),)]
)
def test_rates_that_are_no_rising_probabilities_are_refused(rates):
    with pytest.raises(SettingError, match=r"probabilities from 0 to 1 in rising order.*got"):
        MissingModality(rates=rates)
