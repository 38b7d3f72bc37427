from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.observation import NO_LABELS, Observation
from imbalance_lens.probes.emap import Emap

from .heads import Asked, nonlinear, seeing, stored_bytes
from .world import World

NAMES = ("audio", "visual")


def answer(*seen: Observation, **settings) -> xr.Dataset:
    probe = Emap(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def concatenating(names, examples: int = 30) -> Observation:
    """One linear layer over the concatenated features."""
    _, features, labels = nonlinear(names, examples)
    weight, bias = torch.randn(4, 3 * len(names)).double(), torch.randn(4).double()
    return seeing(
        lambda given: torch.cat([given[m] for m in names], 1) @ weight.T + bias, features, labels
    )


def exclusive_or(examples: int = 40, hidden: bool = False) -> Observation:
    """The label is whether two signs differ; the model has learned it."""
    signs = torch.randint(2, (2, examples, 1)).double() * 2 - 1
    labels = (signs[0] != signs[1]).long().squeeze(1)

    def head(given) -> Tensor:
        product = given["audio"] * given["visual"]
        return torch.cat([product, -product], 1)

    return seeing(head, dict(zip(NAMES, signs, strict=True)), labels)


@pytest.mark.parametrize("names", [NAMES, ("a", "b", "c")])
def test_a_linear_head_over_concatenated_features_loses_nothing(names):
    found = answer(concatenating(names))
    assert (found["gap"] == 0).all()
    assert (found["flip_rate"] == 0).all()
    assert (found["gap_interval"] == 0).all()
    np.testing.assert_allclose(found["interaction"], 0, atol=1e-12)


def test_in_single_precision_a_linear_head_loses_nothing_either():
    weight = torch.randn(4, 8)
    features = {name: torch.randn(50, 4) for name in NAMES}
    labels = torch.randint(4, (50,))
    found = answer(seeing(lambda x: torch.cat(list(x.values()), 1) @ weight.T, features, labels))
    assert (found["gap"] == 0).all()
    assert (found["interaction"] < 1e-6).all()


def test_exclusive_or_needs_its_interaction():
    found = answer(exclusive_or())
    assert found["accuracy"] == 1
    assert (found["gap_interval"].sel(bound="low") > 0.2).all()
    assert (found["interaction"] > 0.9).all()


@pytest.mark.parametrize("names", [NAMES, ("a", "b", "c")])
def test_the_projection_is_that_of_the_whole_table_of_pairs(names):
    head, features, labels = nonlinear(names, examples=7)
    found = answer(seeing(head, features, labels))
    logits = head(features).numpy()
    for name in names:
        table = np.empty((7, 7, 4))
        for i, j in product(range(7), range(7)):
            mixed = {m: (x[[i]] if m == name else x[[j]]) for m, x in features.items()}
            table[i, j] = head(mixed).numpy()[0]
        projected = np.stack(
            [table[i].mean(0) + table[:, i].mean(0) - table.mean((0, 1)) for i in range(7)]
        )
        of = found.sel(modality=name)
        right = projected.argmax(1) == labels.numpy()
        np.testing.assert_allclose(of["additive_accuracy"], right.mean())
        np.testing.assert_allclose(of["gap"], found["accuracy"] - right.mean(), atol=1e-12)
        flips = projected.argmax(1) != logits.argmax(1)
        np.testing.assert_allclose(of["flip_rate"], flips.mean())
        away = ((logits - projected) ** 2).sum(1).mean()
        spread = ((logits - logits.mean(0)) ** 2).sum(1).mean()
        np.testing.assert_allclose(of["interaction"], np.sqrt(away / spread))


def test_only_the_modality_that_interacts_with_none_adds_to_the_rest():
    signs = torch.randint(2, (3, 30, 1)).double() * 2 - 1
    features = dict(zip("abc", signs, strict=True))
    labels = torch.zeros(30, dtype=torch.int64)

    def head(given) -> Tensor:
        pair = given["a"] * given["b"] + given["c"]
        return torch.cat([pair, 0 * pair], 1)

    found = answer(seeing(head, features, labels))["interaction"]
    assert found.sel(modality="c") < 1e-12
    assert (found.sel(modality=["a", "b"]) > 0.5).all()


@pytest.mark.parametrize(("names", "passes"), [(NAMES, 11), (("a", "b", "c"), 33)])
def test_a_batch_costs_one_pass_per_other_example_and_per_modality_of_more_than_two(names, passes):
    asked: Asked = []
    head, features, labels = nonlinear(names, examples=12)
    Emap().observe(seeing(head, features, labels, asked=asked))
    assert len(asked) == len(set(asked)) == passes
    assert {fill for _, fill, _ in asked} == {"shift"}


def test_as_many_batches_are_looked_at_as_are_wanted():
    probe = Emap(batches=2)
    looked = []
    for step in (10, 20, 30):
        looked.append(probe.looks_at(step))
        if looked[-1]:
            probe.observe(exclusive_or(6))
    assert looked == [True, True, False]
    assert probe.result().attrs["batches"] == 2
    assert probe.result().attrs["examples"] == 12


def test_whole_forward_passes_are_refused_unless_they_are_wanted():
    seen = replace(exclusive_or(), reruns_encoders=True)
    with pytest.raises(NotApplicableError, match=r"whole model once per example.*at_inputs=True"):
        answer(seen)
    assert answer(seen, at_inputs=True)["accuracy"] == 1


def test_without_labels_the_interaction_is_measured_and_accuracies_are_unknown():
    seen = exclusive_or()
    found, labeled = answer(replace(seen, labels=NO_LABELS)), answer(seen)
    assert (found.attrs["labeled"], labeled.attrs["labeled"]) == ("false", "true")
    for name in ("interaction", "flip_rate"):
        xr.testing.assert_identical(found[name], labeled[name])
    for name in ("accuracy", "additive_accuracy", "gap", "gap_interval"):
        assert found[name].isnull().all()


def test_a_batch_of_one_example_is_left_out_and_does_not_count():
    probe = Emap(batches=1)
    probe.observe(exclusive_or(1))
    assert probe.looks_at(1)
    with pytest.raises(NotApplicableError, match="every batch has one example only"):
        probe.result()
    probe.observe(exclusive_or(8))
    assert probe.result().attrs["left_out"] == 1


def test_the_order_within_a_batch_changes_nothing_and_whole_batches_add_up():
    head, features, labels = nonlinear(NAMES, examples=16)

    def part(rows: Tensor) -> Observation:
        return seeing(head, {m: x[rows] for m, x in features.items()}, labels[rows])

    rows, mixed = torch.arange(16), torch.cat([torch.randperm(8), 8 + torch.randperm(8)])
    whole = answer(*(part(each) for each in rows.split(8)))
    xr.testing.assert_allclose(answer(*(part(each) for each in mixed.split(8))), whole)
    probes = [Emap(), Emap()]
    for probe, each in zip(probes, rows.split(8), strict=True):
        probe.observe(part(each))
    probes[0].merge(probes[1])
    xr.testing.assert_allclose(probes[0].result(), whole)


def test_one_unknown_answer_makes_its_batch_unknown():
    found = answer(World().see(nan=True))
    assert found["interaction"].isnull().all()
    assert found["flip_rate"].isnull().all()
    assert (found["additive_accuracy"] == 0).all()


def test_logits_that_never_vary_have_no_interaction_to_speak_of():
    same = {name: torch.ones(5, 2) for name in NAMES}
    found = answer(seeing(lambda x: x["audio"] + x["visual"], same, torch.zeros(5).long()))
    assert found["interaction"].isnull().all()
    assert (found["gap"] == 0).all()


def test_the_bytes_per_example_are_those_of_the_docstring():
    probe = Emap()
    probe.observe(World(("a", "b", "c")).see())
    assert stored_bytes(probe) == 24 * (4 + 8 * 3)


def test_no_batches_are_refused():
    with pytest.raises(SettingError, match="batches must be a whole number above 0; got 0"):
        Emap(batches=0)
