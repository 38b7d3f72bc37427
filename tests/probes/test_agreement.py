from collections import Counter

import numpy as np
import pytest
import torch
import xarray as xr

from imbalance_lens.errors import NotApplicableError
from imbalance_lens.observation import Observation
from imbalance_lens.probes.agreement import Agreement

from .heads import stored_bytes
from .world import World

THREE = ("audio", "visual", "text")


def answer(*seen: Observation, **settings) -> xr.Dataset:
    probe = Agreement(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def saying(joint, **alone) -> Observation:
    """An observation in which each head is right (1) or wrong (0), example by example."""
    one, zero = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    logits = {
        name: torch.stack([one if right else zero for right in rights])
        for name, rights in alone.items()
    }
    return Observation(
        labels=torch.zeros(len(joint), dtype=torch.int64),
        logits=torch.stack([one if right else zero for right in joint]),
        modalities=tuple(alone),
        modality_logits=logits,
    )


def test_by_hand_each_example_is_in_the_cell_where_it_belongs():
    found = answer(saying([1, 0, 1, 1, 0, 0, 1], a=[1, 1, 0, 1, 0, 0, 0], b=[1, 1, 1, 0, 1, 0, 0]))
    assert found["pattern"].values.tolist() == ["", "a", "b", "a+b"]
    assert found["right_count"].values.tolist() == [1, 1, 1, 1]
    assert found["wrong_count"].values.tolist() == [1, 0, 1, 1]
    np.testing.assert_allclose(found["right"], np.ones(4) / 7)
    np.testing.assert_allclose(found["wrong"], np.array([1, 0, 1, 1]) / 7)
    np.testing.assert_allclose(found["joint_accuracy"], [0.5, 1, 0.5, 0.5])
    assert found["gained"] == pytest.approx(1 / 7)
    assert found["lost"] == pytest.approx(2 / 7)
    np.testing.assert_allclose(found["accuracy"], [3 / 7, 4 / 7, 4 / 7])


def test_three_modalities_have_eight_patterns_counted_as_in_a_loop():
    world = World(THREE, examples=200)
    found = answer(world.see())
    seen = world.see()
    cells: Counter[tuple[str, bool]] = Counter()
    for row, label in enumerate(seen.labels.tolist()):
        right = [m for m in THREE if seen.modality_logits[m][row].argmax() == label]
        cells["+".join(right), bool(seen.logits[row].argmax() == label)] += 1
    assert found.sizes["pattern"] == 8
    for pattern in found["pattern"].values.tolist():
        assert found["right_count"].sel(pattern=pattern) == cells[pattern, True]
        assert found["wrong_count"].sel(pattern=pattern) == cells[pattern, False]
    assert sum(cells.values()) == (found["right_count"] + found["wrong_count"]).sum() == 200


def test_shares_sum_to_one_and_to_the_accuracy_of_the_model():
    found = answer(World(THREE, examples=90).see())
    assert (found["right"] + found["wrong"]).sum().item() == pytest.approx(1)
    joint = found["accuracy"].sel(head="joint").item()
    assert found["right"].sum().item() == pytest.approx(joint)
    with_audio = [p for p in found["pattern"].values if "audio" in p]
    own = (found["right"] + found["wrong"]).sel(pattern=with_audio).sum().item()
    assert own == pytest.approx(found["accuracy"].sel(head="audio").item())


def test_a_pattern_that_never_occurs_has_no_accuracy_and_no_share():
    found = answer(saying([1, 0], a=[1, 0], b=[0, 0])).sel(pattern="a+b")
    assert found["right_count"] == found["wrong_count"] == found["right"] == 0
    assert found["joint_accuracy"].isnull()
    assert found["joint_accuracy_interval"].isnull().all()
    assert found["right_interval"].values.tolist() == [0, 0]


def test_the_intervals_hold_the_shares_and_are_as_wide_as_chance_makes_them():
    torch.manual_seed(0)
    rights = (torch.rand(3, 1000) < torch.tensor([[0.8], [0.7], [0.4]])).int().tolist()
    found = answer(saying(rights[0], a=rights[1], b=rights[2]))
    for name in ("right", "wrong", "joint_accuracy", "gained", "lost"):
        ends = found[f"{name}_interval"]
        assert (ends.sel(bound="low") <= found[name]).all()
        assert (found[name] <= ends.sel(bound="high")).all()
    share = found["lost"].item()
    half = 1.96 * (share * (1 - share) / 1000) ** 0.5
    low, high = found["lost_interval"].values
    np.testing.assert_allclose([low, high], [share - half, share + half], atol=half / 5)


def test_logits_that_are_not_finite_are_wrong_and_counted():
    found = answer(World().see(nan=True))
    assert found["nonfinite"].values.tolist() == [1, 1, 1]
    clean = answer(World().see())
    assert (found["accuracy"] <= clean["accuracy"]).all()
    assert (clean["nonfinite"] == 0).all()


def test_more_modalities_than_patterns_can_tell_apart_are_refused():
    nine = World(tuple("abcdefghi"), examples=2)
    with pytest.raises(NotApplicableError, match=r"9 modalities .* 512 patterns; .* up to 256"):
        answer(nine.see())
    assert answer(World(tuple("abcdefgh"), examples=2).see()).sizes["pattern"] == 256


def test_the_bytes_per_example_are_those_of_the_docstring():
    probe = Agreement()
    probe.observe(World(THREE).see())
    assert stored_bytes(probe) == 24 * (2 + 2 * 3)
