import warnings
from collections.abc import Collection
from dataclasses import replace
from math import exp
from statistics import fmean

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import one_hot

from imbalance_lens.errors import SettingError
from imbalance_lens.observation import Observation
from imbalance_lens.probes.zero_out import ZeroOut
from tests.golden import NUMBERS

from .world import FILLS, World

Labels = list[int] | Tensor
THREE = ("audio", "visual", "text")


def answer(*seen: Observation, **settings) -> xr.Dataset:
    probe = ZeroOut(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def seeing(labels: Labels, modalities: tuple[str, ...], coalitions) -> Observation:
    return Observation(
        labels=torch.as_tensor(labels),
        logits=coalitions(modalities),
        modalities=modalities,
        coalitions=lambda present, fill="zero", draw=0: coalitions(present),
    )


def adding(labels: Labels, bias: float | Tensor = 0.0, **parts: Tensor) -> Observation:
    """An observation of a model that adds up one block of logits per modality."""
    silence = torch.zeros_like(next(iter(parts.values())))
    names = tuple(parts)
    return seeing(labels, names, lambda present: bias + sum((parts[m] for m in present), silence))


def test_the_golden_linear_head_gives_the_golden_confidences():
    golden = NUMBERS["split"]
    one = torch.tensor(golden["phi1"]) @ torch.tensor(golden["W1"]).T
    two = torch.tensor(golden["phi2"]) @ torch.tensor(golden["W2"]).T
    bias = torch.tensor(golden["b"])
    found = answer(adding(golden["y"], bias, one=one, two=two))["confidence"]
    for name, key in (("one", "zero_out s1"), ("two", "zero_out s2")):
        np.testing.assert_allclose(found.sel(coalition=name), np.mean(golden[key]), atol=1e-6)


@pytest.mark.parametrize(
    ("modalities", "names"),
    [
        (("b", "a"), ["", "b", "a", "b+a"]),
        (("x", "y", "z"), ["", "x", "y", "z", "x+y", "x+z", "y+z", "x+y+z"]),
    ],
)
def test_coalitions_come_by_size_and_then_in_the_order_of_the_modalities(modalities, names):
    assert answer(World(modalities).see())["coalition"].values.tolist() == names


def test_six_modalities_take_fourteen_coalitions_each_asked_for_once():
    seen = World(("a", "b", "c", "d", "e", "f")).see()
    asked: list[frozenset[str]] = []

    def counting(present: Collection[str], fill: str = "zero", draw: int = 0) -> Tensor:
        asked.append(frozenset(present))
        return seen.coalitions(present, fill, draw)

    found = answer(replace(seen, coalitions=counting))
    assert found.sizes["coalition"] == 14
    assert len(asked) == len(set(asked)) == 13  # all together are the model's own logits


@pytest.mark.parametrize("fill", FILLS)
def test_scores_are_those_of_a_loop_over_the_examples(fill: str):
    world = World(THREE, examples=40)
    found = answer(world.see(), fill=fill)

    def accuracy(present: Collection[str]) -> float:
        rows = zip(world.logits(present, fill).tolist(), world.labels.tolist(), strict=True)
        return fmean(row.index(max(row)) == label for row, label in rows)

    def confidence(present: Collection[str]) -> float:
        rows = zip(world.logits(present, fill).tolist(), world.labels.tolist(), strict=True)
        return fmean(exp(row[label]) / sum(map(exp, row)) for row, label in rows)

    assert found["majority"] == max(map(world.labels.tolist().count, range(4))) / 40
    for name, score in (("accuracy", accuracy), ("confidence", confidence)):
        for coalition in found["coalition"].values.tolist():
            expected = score(coalition.split("+") if coalition else ())
            np.testing.assert_allclose(found[name].sel(coalition=coalition), expected, rtol=1e-5)
    for m in THREE:
        others = [name for name in THREE if name != m]
        of = found.sel(modality=m)
        np.testing.assert_allclose(of["alone"], accuracy([m]))
        np.testing.assert_allclose(of["drop"], accuracy(THREE) - accuracy(others), atol=1e-12)
        dropped = confidence(THREE) - confidence(others)
        np.testing.assert_allclose(of["confidence_drop"], dropped, atol=1e-6)
        for other in others:
            pair, rest = of.sel(other=other), [name for name in THREE if name != other]
            np.testing.assert_allclose(pair["alone_gap"], accuracy([m]) - accuracy([other]))
            gap = confidence([m]) - confidence([other])
            np.testing.assert_allclose(pair["confidence_gap"], gap, atol=1e-6)
            np.testing.assert_allclose(pair["drop_gap"], accuracy(rest) - accuracy(others))


def test_classes_are_scored_apart_and_absent_ones_are_named():
    logits = torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    found = answer(adding([0, 2, 2], a=logits, b=torch.zeros(3, 3)))
    right, wrong = np.exp(2) / (np.exp(2) + 2), 1 / (np.exp(2) + 2)
    alone = found.sel(coalition="a")
    assert found["class_examples"].values.tolist() == [1, 0, 2]
    assert found.attrs["absent_classes"] == "[1]"
    assert found.attrs["examples"] == 3
    np.testing.assert_array_equal(alone["class_accuracy"], [1, np.nan, 0.5])
    expected = [right, np.nan, (right + wrong) / 2]
    np.testing.assert_allclose(alone["class_confidence"], expected, rtol=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 4, 50])
def test_average_precision_is_that_of_scikit_learn_with_absent_classes_too(classes: int):
    world = World(examples=30, classes=classes)
    one_hot = (world.labels[:, None] == torch.arange(classes)).numpy()
    found = answer(world.see())["average_precision"].sel(coalition="audio").item()
    probabilities = world.logits({"audio"}).softmax(1).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the absent classes
        expected = average_precision_score(one_hot, probabilities, average="macro")
    assert found == pytest.approx(expected, abs=1e-12)


def test_without_average_precision_no_probabilities_are_kept_and_it_is_nan():
    found = answer(World().see(), average_precision=False)
    assert found["average_precision"].isnull().all()
    probe = ZeroOut(average_precision=False)
    probe.observe(World(classes=300).see())
    assert _stored_bytes(probe) == 24 * (8 + 5 * 4)


def test_the_bytes_per_example_are_those_of_the_docstring():
    probe = ZeroOut()
    probe.observe(World(THREE, classes=10).see())
    assert _stored_bytes(probe) == 24 * (8 + 5 * 8 + 4 * 8 * 10)


def _stored_bytes(probe: ZeroOut) -> int:
    return sum(column.nbytes for column in probe._rows.on_host().values())


def test_nan_and_overflow_are_counted_wrong_and_reported():
    logits = torch.tensor([[1.0, 0.0], [torch.nan, 0.0], [torch.inf, 0.0], [1.0, 0.0]])
    found = answer(adding([0, 0, 0, 0], a=logits, b=torch.zeros(4, 2)))
    assert found["nonfinite"].values.tolist() == [0, 2, 0, 2]
    alone = found.sel(coalition="a")
    assert alone["accuracy"] == 0.5
    assert alone["confidence"].isnull()
    assert alone["confidence_interval"].isnull().all()
    assert alone["average_precision"].isnull()
    assert alone["accuracy_interval"].notnull().all()
    silent = found.sel(coalition="b")
    assert silent["confidence"] == 0.5
    assert silent["confidence_interval"].values.tolist() == [0.5, 0.5]


def test_a_class_that_a_model_rules_out_is_no_overflow():
    logits = torch.tensor([[1.0, -torch.inf], [2.0, -torch.inf]])
    found = answer(adding([0, 0], a=logits, b=torch.zeros(2, 2))).sel(coalition="a")
    assert (found["nonfinite"], found["accuracy"], found["confidence"]) == (0, 1, 1)


def test_a_modality_without_a_say_has_no_effect_and_no_spread():
    torch.manual_seed(0)
    found = answer(adding([0, 1] * 10, a=torch.randn(20, 2), b=torch.zeros(20, 2)))
    assert found["effect"].sel(modality="b") == 0
    assert found["spread"].sel(modality="b") == 0
    assert found["drop"].sel(modality="b") == 0
    np.testing.assert_allclose(found["spread"].sel(modality="a"), 1)


def test_a_product_of_modalities_has_an_effect_but_no_spread():
    torch.manual_seed(0)
    x, y = torch.randn(20, 2), torch.randn(20, 2)
    bias = torch.tensor([0.3, -0.2])
    film = {("x", "y"): x * y + bias}  # zero features for one of them leave the bias
    seen = seeing([0, 1] * 10, ("x", "y"), lambda p: film.get(tuple(p), bias.expand(20, 2)))
    found = answer(seen)
    assert found["spread"].values.tolist() == [0, 0]
    deviation = (x * y).double().numpy()
    expected = np.sqrt(
        (deviation**2).sum(1).mean() / ((deviation - deviation.mean(0)) ** 2).sum(1).mean()
    )
    np.testing.assert_allclose(found["effect"], [expected, expected], rtol=1e-6)


def test_equal_logits_that_differ_in_their_last_bit_have_no_spread():
    logits = torch.full((6, 2), 3.0)
    logits[::2] = torch.nextafter(logits[::2], torch.tensor(4.0))
    torch.manual_seed(0)
    found = answer(adding([0, 1] * 3, a=logits, b=torch.randn(6, 2)))
    assert found["spread"].sel(modality="a") == 0


def test_the_spread_of_large_logits_is_not_lost():
    torch.manual_seed(0)
    small = torch.randn(400, 3)
    a, b = small + 1e4, 2 * small.flip(0)
    found = answer(
        *(adding([0] * 100, a=a[k : k + 100], b=b[k : k + 100]) for k in range(0, 400, 100))
    )
    deviation = {name: v.double().numpy().std(0) for name, v in (("a", a), ("b", b), ("ab", a + b))}
    length = {name: np.linalg.norm(values) for name, values in deviation.items()}
    expected = [length["a"] / length["ab"], length["b"] / length["ab"]]
    np.testing.assert_allclose(found["spread"], expected, rtol=1e-6)


def test_logits_that_never_change_leave_the_spread_open():
    found = answer(adding([0, 1], a=torch.ones(2, 2), b=torch.ones(2, 2)))
    assert found["spread"].isnull().all()
    assert found["effect"].isnull().all()


def test_another_seed_draws_other_resamples():
    one, other, again = (answer(World().see(), seed=seed) for seed in (0, 1, 0))
    assert not one["confidence_interval"].equals(other["confidence_interval"])
    xr.testing.assert_identical(one, again)


@settings(max_examples=25)
@given(st.permutations(range(12)), st.integers(0, 12))
def test_any_split_in_any_order_gives_the_same_numbers(order: list[int], cut: int):
    world = World(examples=12)
    parts = {name: world.logits({name}) for name in world.modalities}

    def seen(rows: list[int]) -> Observation:
        return adding(world.labels[rows], **{name: part[rows] for name, part in parts.items()})

    probes = [ZeroOut(resamples=20), ZeroOut(resamples=20)]
    for probe, rows in zip(probes, (order[:cut], order[cut:]), strict=True):
        for k in range(0, len(rows), 5):
            probe.observe(seen(rows[k : k + 5]))
    probes[0].merge(probes[1])
    whole = answer(seen(list(range(12))), resamples=20)
    xr.testing.assert_allclose(probes[0].result(), whole, rtol=1e-9)


def test_the_order_of_the_modalities_changes_no_interval_where_confidences_are_equal():
    torch.manual_seed(0)
    labels = torch.randint(3, (40,))
    sure = {name: 200 * one_hot(torch.randint(3, (40,)), 3).float() for name in "abc"}
    one = answer(adding(labels, **sure))
    other = answer(adding(labels, **{name: sure[name] for name in "cab"}))
    for name in ("alone_interval", "drop_interval", "alone_gap_interval"):
        xr.testing.assert_equal(one[name], other[name].reindex_like(one[name]))


def test_what_stands_for_absent_is_asked_for_and_noted():
    asked: set[str] = set()

    def noting(present: Collection[str], fill: str = "zero", draw: int = 0) -> Tensor:
        asked.add(fill)
        return World().logits(present, fill, draw)

    found = answer(replace(World().see(), coalitions=noting), fill="mean")
    assert asked == {"mean"}
    assert '"fill": "mean"' in found.attrs["settings"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"resamples": 0}, "resamples must be a whole number above 0; got 0"),
        ({"confidence_level": 95}, "confidence_level must lie between 0 and 1.*got 95"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(SettingError, match=message):
        ZeroOut(**setting)
