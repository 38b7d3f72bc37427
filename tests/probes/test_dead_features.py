"""What is dead, constant or nearly so on data, counted to the last example."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from imbalance_lens import schema
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.observation import NO_LABELS, Activation, Observation
from imbalance_lens.probes.dead_features import DeadFeatures
from tests.golden import NUMBERS

GOLDEN = NUMBERS["dead"]
CLASSES = 3


def relu(maps: Tensor, function: str = "relu", **what: Any) -> Activation:
    """Return the activation with these maps (batch, channels, positions) in front of it."""
    maps = maps.clamp(min=0) if function == "relu" else maps
    given = {"producer": "net.bn", "kind": "batchnorm", **what}
    return Activation(maps.amax(2), maps.amin(2), function, function == "relu", **given)


def seen(places: Mapping[str, Activation], labels: Tensor = NO_LABELS) -> Observation:
    examples = max(len(each.highest) for each in places.values()) if places else 2
    logits = torch.zeros(examples, CLASSES)
    return Observation(labels, logits, ("a", "b"), activations=lambda _: places)


def answer(*observations: Observation, **settings: Any) -> xr.Dataset:
    probe = DeadFeatures(**settings)
    for observation in observations:
        probe.observe(observation)
    return probe.result()


def golden_maps() -> Tensor:
    return torch.tensor(GOLDEN["z"], dtype=torch.float64)


def test_rates_and_marks_are_the_golden_ones():
    found = answer(seen({"bn > relu": relu(golden_maps())}), threshold=1.0)
    assert found["dead_rate"].values.tolist() == GOLDEN["dead_rate"]
    flags = ("dead", "constant", "low_variance")
    marked = {name: np.flatnonzero(found[name]).tolist() for name in flags}
    assert marked["dead"] == GOLDEN["dead_channels@1.0"]
    assert marked["constant"] == marked["low_variance"] == GOLDEN["const_channels(std<1e-6)"]
    assert found["dead_share"].values == pytest.approx(GOLDEN["layer_ratio_dead"], abs=1e-6)


def test_the_channels_of_all_places_stand_in_one_row_with_what_is_known_of_them():
    places = {
        "a.bn > relu": relu(torch.ones(4, 2, 3), producer="a.bn", modality="audio"),
        "b (sum) > relu": relu(torch.ones(4, 3, 3), producer="b", kind="sum"),
    }
    found = answer(seen(places))
    assert found["layer"].values.tolist() == list(places)
    assert found["producer"].values.tolist() == ["a.bn", "b"]
    assert found["kind"].values.tolist() == ["batchnorm", "sum"]
    assert found["modality"].values.tolist() == ["audio", ""]
    assert found["channels"].values.tolist() == [2, 3]
    assert found["channel"].values.tolist()[1:3] == ["a.bn > relu:1", "b (sum) > relu:0"]
    assert found["channel_layer"].values.tolist() == ["a.bn > relu"] * 2 + ["b (sum) > relu"] * 3


def test_dead_constant_and_nearly_constant_channels_are_told_apart():
    maps = torch.rand(50, 5, 4, dtype=torch.float64)
    maps[:, 0] = -1
    maps[:, 1] = 0.25
    maps[:, 2] = 0.25 + 1e-9 * maps[:, 2]
    maps[0, 3] = maps[:, 3].amax()  # lively, but in the first example
    found = answer(seen({"place": relu(maps)}))
    assert found["dead"].values.tolist() == [True, False, False, False, False]
    assert found["constant"].values.tolist() == [True, True, False, False, False]
    assert found["low_variance"].values.tolist() == [True, True, True, False, False]
    counts = [found[f"{name}_count"].item() for name in ("dead", "constant", "low_variance")]
    assert counts == [1, 1, 2]


def test_a_channel_that_always_reaches_the_same_height_is_not_constant():
    maps = torch.rand(20, 2, 9) * 12
    maps[:, :, 0] = 9
    assert not answer(seen({"place": relu(maps.clamp(max=6))}))["constant"].any()


@pytest.mark.parametrize(("threshold", "dead"), [(0.99, True), (0.991, False), (1.0, False)])
def test_the_threshold_is_a_share_of_the_examples(threshold, dead):
    maps = torch.zeros(100, 1, 2)
    maps[7, 0, 1] = 1
    found = answer(seen({"place": relu(maps)}), threshold=threshold)
    assert found["dead_rate"].values == [0.99]
    assert found["dead"].values == [dead]


def test_classes_are_counted_apart():
    maps = torch.tensor([[[1.0], [0.0]], [[0.0], [0.0]], [[0.0], [2.0]], [[0.0], [0.0]]])
    labels = torch.tensor([0, 0, 2, 2])
    found = answer(seen({"place": relu(maps)}, labels))
    wanted = [[0.5, np.nan, 1.0], [1.0, np.nan, 0.5]]
    np.testing.assert_array_equal(found["class_dead_rate"], wanted)
    assert found["class_examples"].values.tolist() == [[2, 0, 2]]


@pytest.mark.parametrize("settings", [{}, {"per_class": False}])
def test_without_labels_or_interest_in_them_there_are_no_classes(settings):
    labels = torch.tensor([0, 1]) if settings else NO_LABELS
    found = answer(seen({"place": relu(torch.ones(2, 3, 1))}, labels), **settings)
    assert "label" not in found.dims


def test_an_example_with_nan_is_alive_and_counted():
    maps = torch.zeros(4, 2, 3)
    maps[1, 0, 2] = torch.nan
    found = answer(seen({"place": relu(maps)}))
    assert found["dead_rate"].values.tolist() == [0.75, 1.0]
    assert found["nan_examples"].values.tolist() == [1, 0]
    assert found["constant"].values.tolist() == [False, True]
    assert np.isnan(found["highest"].values[0])


def test_an_infinite_entry_does_not_make_its_neighbors_look_still():
    maps = torch.rand(4, 3, 3)
    maps[0, 0, 0] = torch.inf
    assert not answer(seen({"place": relu(maps)}))["low_variance"].any()


batches = st.lists(st.integers(1, 4), min_size=1, max_size=6)


@given(batches, st.randoms(use_true_random=False))
def test_how_the_examples_are_batched_and_ordered_changes_no_bit(sizes, draw):
    count = sum(sizes)
    maps = torch.randn(count, 3, 2, generator=torch.Generator().manual_seed(count))
    labels = torch.arange(count) % CLASSES
    order = list(range(count))
    draw.shuffle(order)
    parts = zip(maps[order].split(sizes), labels[order].split(sizes), strict=True)
    whole = answer(seen({"place": relu(maps)}, labels))
    xr.testing.assert_identical(
        answer(*(seen({"place": relu(part)}, own) for part, own in parts)), whole
    )


@given(st.integers(1, 9), st.integers(1, 9))
def test_two_ranks_together_are_the_whole(one, other):
    maps = torch.randn(one + other, 2, 2, generator=torch.Generator().manual_seed(one))
    copies = []
    for part in maps.split([one, other]):
        probe = DeadFeatures()
        probe.observe(seen({"place": relu(part)}))
        copies.append(pickle.loads(pickle.dumps(probe)))
    first, second = copies
    alone = second.result()
    first.merge(second)
    first.observe(seen({"place": relu(maps)}))
    xr.testing.assert_identical(second.result(), alone)
    doubled = answer(seen({"place": relu(maps)}), seen({"place": relu(maps)}))
    xr.testing.assert_identical(first.result(), doubled)


def test_a_union_has_the_weighted_mean_of_the_rates():
    maps = [torch.randn(n, 4, 1) for n in (3, 17)]
    apart = [answer(seen({"place": relu(part)}))["dead_rate"] for part in maps]
    together = answer(*(seen({"place": relu(part)}) for part in maps))["dead_rate"]
    np.testing.assert_allclose(together, (3 * apart[0] + 17 * apart[1]) / 20, rtol=1e-12)


def test_lower_ends_are_taken_until_every_channel_has_been_at_0_or_varied():
    probe = DeadFeatures(tolerance=0.1)
    low, high = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), torch.tensor([[[1.0, 2.0], [0.0, 3.0]]])
    low, high = low.expand(64, 2, 2), high.expand(64, 2, 2)  # small batches are counted together
    probe.observe(seen({"net": relu(low), "smooth": relu(low * 0, "gelu")}))
    assert probe.peaks_only() == set()
    other = DeadFeatures(tolerance=0.1)
    other.observe(seen({"net": relu(high * 0)}))
    assert other.peaks_only() == {"net"}
    probe.observe(seen({"net": relu(high), "smooth": relu(low * 0, "gelu")}))
    assert probe.peaks_only() == {"net"}
    probe.observe(seen({"net": relu(high + 1), "smooth": relu(low, "gelu")}))
    assert probe.peaks_only() == {"net"}
    varied = DeadFeatures()
    for factor in (1.0, 1.0005, 1.003):  # by a thousandth, at last
        assert varied.peaks_only() == set()
        varied.observe(seen({"net": relu((low + 1) * factor)}))
    assert varied.peaks_only() == {"net"}


def test_memory_does_not_grow_with_the_data():
    probe, sizes = DeadFeatures(), []
    for _ in range(80):
        probe.observe(seen({"place": relu(torch.randn(8, 16, 4))}, torch.arange(8) % CLASSES))
        sizes.append(len(pickle.dumps(probe)))
    assert max(sizes[40:]) <= max(sizes[:40]) + 8  # a count takes more digits


def test_places_that_only_some_batches_reach_are_counted_by_themselves():
    here, there = relu(torch.ones(2, 3, 1)), relu(torch.zeros(2, 4, 1))
    found = answer(seen({"here": here}), seen({"here": here, "there": there}), seen({"here": here}))
    assert found["examples"].values.tolist() == [6, 2]
    assert found["dead_count"].values.tolist() == [0, 4]


def test_a_place_whose_channels_change_in_number_is_left_out_with_the_reason():
    steady = relu(torch.ones(2, 3, 1))
    lengths: Sequence[int] = (5, 7, 5)
    shown = [seen({"s": steady, "r": relu(torch.ones(2, n, 1))}) for n in lengths]
    found = answer(*shown)
    assert found["layer"].values.tolist() == ["s"]
    left_out = schema.from_json(found.attrs["left_out"])
    assert left_out == {"r": "its number of channels changes"}
    with pytest.raises(NotApplicableError, match="number of channels changes"):
        answer(*(seen({"r": relu(torch.ones(2, n, 1))}) for n in lengths))


def test_rows_that_are_no_examples_are_left_out_with_the_reason():
    places = {"rows": relu(torch.ones(3, 2, 1)), "good": relu(torch.ones(4, 2, 1))}
    found = answer(seen(places))
    assert found["layer"].values.tolist() == ["good"]
    assert schema.from_json(found.attrs["left_out"]) == {
        "rows": "its rows cannot be told apart by example"
    }


def gelu() -> Activation:
    maps = torch.tensor([[[1e-4, -2e-4], [1.0, 0.0]], [[0.0, 5e-5], [0.0, -0.1]]])
    return relu(maps, "gelu", kind="linear")


def test_smooth_functions_are_left_out_unless_there_is_a_tolerance():
    places = {"bn > relu": relu(golden_maps()[:2]), "fc > gelu": gelu()}
    strict = answer(seen(places))
    assert strict["layer"].values.tolist() == ["bn > relu"]
    left_out = schema.from_json(strict.attrs["left_out"])
    assert left_out == {
        "fc > gelu": "gelu gives no exact zeros; set a tolerance above 0 to look at it"
    }
    lax = answer(seen(places), tolerance=1e-3)
    assert lax["layer"].values.tolist() == list(places)
    assert lax["dead_rate"].values[-2:].tolist() == [1.0, 0.0]
    assert schema.from_json(lax.attrs["left_out"]) == {}


def test_a_model_without_a_relu_is_told_so():
    with pytest.raises(NotApplicableError, match=r"set a tolerance above 0 .* \(places: 2\)"):
        answer(seen({"a > gelu": gelu(), "b > gelu": gelu()}))
    with pytest.raises(NotApplicableError, match="no ReLU was seen when the model ran"):
        answer(seen({}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0}, "above 0 and at most 1; got 0.0"),
        ({"threshold": 1.1}, "above 0 and at most 1; got 1.1"),
        ({"tolerance": -1e-3}, "tolerance must be 0 or more"),
        ({"tolerance": float("nan")}, "tolerance must be 0 or more"),
        ({"bn_stats": "own"}, "Choose one of: 'running', 'batch'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        DeadFeatures(**settings)
