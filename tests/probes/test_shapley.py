from collections.abc import Mapping

import numpy as np
import pytest
import torch
import xarray as xr
from captum.attr import ShapleyValues
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from imbalance_lens import formulas
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.formulas import coalitions
from imbalance_lens.observation import Observation
from imbalance_lens.probes.shapley import Shapley
from imbalance_lens.probes.zero_out import ZeroOut
from tests.formulas import twins
from tests.golden import NUMBERS

from .heads import Asked, nonlinear, seeing, stored_bytes
from .world import World

GOLDEN = NUMBERS["shapley"]
THREE = ("audio", "visual", "text")


def answer(*seen: Observation, **settings) -> xr.Dataset:
    probe = Shapley(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def game(values: Mapping[frozenset[str], float], examples: int = 2) -> Observation:
    """An observation in which the logit of the true class is what a set is worth."""
    names = tuple(sorted(max(values, key=len)))

    def logits(present, fill="zero", draw=0) -> Tensor:
        return torch.tensor([[values[frozenset(present)], -50.0]]).expand(examples, 2).double()

    labels = torch.zeros(examples, dtype=torch.int64)
    return Observation(labels, logits(names), names, coalitions=logits)


def test_the_golden_games_give_the_golden_contributions():
    two = {frozenset(key.replace("0", "")): value for key, value in GOLDEN["M2 v"].items()}
    three = {frozenset(key): value for key, value in GOLDEN["M3 v"].items()}
    for values, wanted in ((two, GOLDEN["M2 phi"]), (three, GOLDEN["M3 phi"])):
        found = answer(game(values), values="logit").sel(value="logit")
        np.testing.assert_allclose(found["contribution"], wanted, atol=1e-6)
        np.testing.assert_allclose(found["example_contribution"], [wanted] * 2, atol=1e-6)
        assert found["contribution"].attrs["units"] == "logit"
    assert found["worth"].sel(coalition="0+2") == pytest.approx(0.55)
    assert found["cooperation"] == pytest.approx((0.6 - 0.4 - 0.2 - 0.1) / 0.6)


@pytest.mark.parametrize("case", list(NUMBERS["sample_val"]))
def test_the_golden_examples_get_the_golden_valuation(case):
    both, audio, visual = (bool(int(part[-1])) for part in case.split(","))
    right = {"": True, "a": audio, "v": visual, "av": both}
    values = {frozenset(key): 1.0 if value else -99.0 for key, value in right.items()}
    found = answer(game(values), values=("valuation", "correct"))["example_contribution"]
    assert found.sel(value="valuation", example=0).values.tolist() == NUMBERS["sample_val"][case]


@pytest.mark.parametrize("names", [("a", "b"), THREE, ("p", "q", "r", "s")])
def test_contributions_are_those_of_captum_on_the_same_game(names):
    head, features, labels = nonlinear(names)

    def confidence(*given: Tensor) -> Tensor:
        probabilities = head(dict(zip(names, given, strict=True))).softmax(1)
        return probabilities[torch.arange(len(given[0])), labels]

    masks = tuple(torch.full((1, 3), place) for place in range(len(names)))
    expected = ShapleyValues(confidence).attribute(tuple(features.values()), feature_mask=masks)
    found = answer(seeing(head, features, labels))["example_contribution"].sel(value="confidence")
    for name, attribution in zip(names, expected, strict=True):
        np.testing.assert_allclose(found.sel(modality=name), attribution[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    "value", ["confidence", "correct", "valuation", "logit", "log_probability"]
)
def test_contributions_are_the_mean_gain_over_all_orders_of_arrival(value):
    head, features, labels = nonlinear()
    seen = seeing(head, features, labels)
    found = answer(seen, values=value)["example_contribution"].sel(value=value)
    logits = {present: seen.coalitions(present) for present in coalitions(THREE)}
    for row, label in enumerate(labels.tolist()):
        worth = {}
        for present, table in logits.items():
            probabilities = twins.softmax(table[row].tolist())
            right = probabilities.index(max(probabilities)) == label
            worth[present] = {
                "confidence": probabilities[label],
                "log_probability": np.log(probabilities[label]),
                "logit": table[row, label].item(),
                "correct": float(right),
                "valuation": len(present) * float(right),
            }[value]
        for name, share in twins.shapley_by_orders(THREE, worth).items():
            assert found.sel(example=row, modality=name).item() == pytest.approx(share, abs=1e-6)


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 4]))
def test_contributions_to_each_example_sum_to_what_all_are_worth_over_none(seed, count):
    head, features, labels = nonlinear(tuple("abcd"[:count]), examples=5, seed=seed)
    found = answer(seeing(head, features, labels), values=("confidence", "correct", "valuation"))
    for values in (found["contribution"], found["example_contribution"]):
        gained = found["worth"][-1] - found["worth"][0]
        if "example" in values.dims:
            values = values.mean("example")
        np.testing.assert_allclose(values.sum("modality"), gained, atol=1e-6)


def test_a_modality_without_a_say_contributes_nothing_and_interacts_with_nobody():
    head, features, labels = nonlinear()
    deaf = seeing(lambda given: head({**given, "text": features["text"]}), features, labels)
    found = answer(deaf)
    np.testing.assert_allclose(found["contribution"].sel(modality="text"), 0, atol=1e-12)
    np.testing.assert_allclose(found["example_contribution"].sel(modality="text"), 0, atol=1e-12)
    others = found["interaction"].sel(modality="text", other=["audio", "visual"])
    np.testing.assert_allclose(others, 0, atol=1e-12)


def test_modalities_that_say_the_same_contribute_the_same():
    head, features, labels = nonlinear(("a", "b"))
    same = dict.fromkeys(features, features["a"])
    found = answer(
        seeing(lambda given: head({"a": given["a"] + given["b"], "b": features["b"]}), same, labels)
    )
    one, other = found["contribution"].transpose("modality", "value").values
    np.testing.assert_allclose(one, other, atol=1e-12)
    np.testing.assert_allclose(found["contribution_gap"], 0, atol=1e-12)


def test_an_exclusive_or_is_all_cooperation_and_a_copy_all_redundancy():
    none, both = {frozenset(): 0.5}, {frozenset("ab"): 1.0}
    alone = {frozenset("a"): 0.5, frozenset("b"): 0.5}
    synergy = answer(game({**none, **alone, **both}), values="logit")
    assert synergy["cooperation"] == 1
    assert synergy["interaction"].sel(modality="a", other="b") == 0.5
    copies = {frozenset("a"): 1.0, frozenset("b"): 1.0}
    redundancy = answer(game({**none, **copies, **both}), values="logit")
    assert redundancy["cooperation"] == -1
    interaction = redundancy["interaction"].sel(value="logit").values
    assert interaction[0, 1] == interaction[1, 0] == -0.5
    assert np.isnan(interaction.diagonal()).all()


def test_numbers_of_an_example_depend_on_no_other_example():
    head, features, labels = nonlinear(examples=20)
    whole = answer(seeing(head, features, labels))["example_contribution"]
    order = torch.randperm(20)
    parts = [
        seeing(head, {m: x[rows] for m, x in features.items()}, labels[rows])
        for rows in order.split([1, 7, 12])
    ]
    found = answer(*parts)["example_contribution"]
    np.testing.assert_array_equal(found, whole.isel(example=order.numpy()))


def test_none_is_worth_what_the_model_says_or_nothing():
    values = {frozenset(key): value for key, value in GOLDEN["M3 v"].items()}
    found = answer(game(values), values="logit", empty="zero")
    assert found["worth"].sel(coalition="") == 0
    lifted = {**values, frozenset(): 0.0}
    expected = answer(game(lifted), values="logit")
    np.testing.assert_allclose(found["contribution"], expected["contribution"])
    asked: Asked = []
    head, features, labels = nonlinear()
    answer(seeing(head, features, labels, asked=asked), empty="zero")
    assert (frozenset(), "zero", 0) not in asked


@pytest.mark.parametrize(("names", "passes"), [(("a", "b"), 3), (THREE, 7), (tuple("abcdef"), 63)])
def test_each_set_is_asked_for_once_and_with_few_modalities_only_what_zero_out_asks_for(
    names, passes
):
    head, features, labels = nonlinear(names)
    asked: dict[type, Asked] = {}
    for kind in (Shapley, ZeroOut):
        asked[kind] = []
        kind(fill="mean").observe(seeing(head, features, labels, asked=asked[kind]))
    assert len(asked[Shapley]) == len(set(asked[Shapley])) == passes
    if len(names) < 4:
        assert set(asked[Shapley]) == set(asked[ZeroOut])


def test_classes_have_contributions_of_their_own():
    world = World(THREE, examples=40, classes=5)
    found = answer(world.see())
    for label in range(5):
        rows = np.flatnonzero(world.labels.numpy() == label)
        assert found["class_examples"].sel(label=label) == len(rows)
        mean = found["example_contribution"].isel(example=rows).mean("example")
        np.testing.assert_allclose(found["class_contribution"].sel(label=label), mean, rtol=1e-6)
    few = answer(World(examples=2, classes=50).see())
    assert few["class_contribution"].isnull().sum() == 2 * 2 * 48


def test_the_intervals_hold_the_contributions_and_a_gap_read_backwards_is_its_negative():
    found = answer(World(THREE, examples=60).see())
    for name in ("contribution", "contribution_gap"):
        ends = found[f"{name}_interval"]
        assert (ends.sel(bound="low") <= found[name]).all()
        assert (found[name] <= ends.sel(bound="high")).all()
    gap = found["contribution_gap_interval"]
    backwards = gap.rename(modality="other", other="modality").transpose(*gap.dims)
    np.testing.assert_allclose(gap.sel(bound="low"), -backwards.sel(bound="high"), atol=1e-12)


def test_five_modalities_in_any_order_have_the_same_intervals():
    # With five, sums of sixths that come to nothing depend on the order in their last bit.
    head, features, labels = nonlinear("abcde", examples=400)
    one, other = (
        answer(seeing(head, {m: features[m] for m in names}, labels), values="correct")
        for names in ("abcde", "edcba")
    )
    for name in ("contribution_interval", "contribution_gap_interval"):
        xr.testing.assert_allclose(one[name], other[name].reindex_like(one[name]), atol=1e-9)


def test_nan_makes_what_it_reaches_unknown_and_counts_as_wrong():
    found = answer(World().see(nan=True))
    assert found["contribution"].sel(value="confidence").isnull().all()
    unknown = found["example_contribution"].sel(value="confidence").isnull()
    assert unknown.all("modality").values.tolist() == [True] + [False] * 23
    right = found.sel(value="correct")
    assert right["contribution"].notnull().all()
    assert (right["example_contribution"].sel(example=0) == 0).all()


def test_contributions_that_do_not_sum_up_are_not_given(monkeypatch):
    def generous(values):
        return {name: share + 1e-6 for name, share in shares_of(values).items()}

    shares_of = formulas.shapley_values
    probe = Shapley()
    probe.observe(World().see(nan=True))  # which must not hide what follows
    probe.result()
    monkeypatch.setattr("imbalance_lens.formulas.shapley_values", generous)
    probe.observe(World().see())
    with pytest.raises(NotApplicableError, match="do not sum to what all modalities are worth"):
        probe.result()
    fresh = Shapley()
    fresh.merge(probe)
    with pytest.raises(NotApplicableError, match=r"off by \de-0[67] of it"):
        fresh.result()


def test_the_bytes_per_example_are_those_of_the_docstring():
    probe = Shapley(values=("confidence", "correct", "valuation"))
    probe.observe(World(THREE).see())
    assert stored_bytes(probe) == 24 * (8 + 4 * 3 * 3)
    assert "example" not in answer(World().see(), per_example=False).dims


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"values": "accuracy"}, "value='accuracy' is not known. Choose one of: 'confidence'"),
        ({"values": ("correct", "correct")}, "values names 'correct' twice"),
        ({"values": ()}, r"must be of one unit, and there must be one at least; got \[\]"),
        (
            {"values": ("confidence", "logit")},
            r"got \['confidence', 'logit'\]. Of one unit each are: 'confidence', 'correct', "
            "'valuation'; 'logit'; 'log_probability'",
        ),
        ({"empty": "chance"}, "empty='chance' is not known. Choose one of: 'model', 'zero'"),
        ({"order_pairs": 0}, "order_pairs must be a whole number above 0; got 0"),
        ({"resamples": 0}, "resamples must be a whole number above 0; got 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting, message):
    with pytest.raises(SettingError, match=message):
        Shapley(**setting)


def test_interactions_are_those_of_what_the_sets_are_worth():
    found = answer(World(THREE).see()).sel(value="correct")
    worth = {
        frozenset(str(name).split("+")) - {""}: torch.tensor(value)
        for name, value in found["worth"].to_series().items()
    }
    for pair, index in formulas.shapley_interactions(worth).items():
        one, other = pair
        for order in ((one, other), (other, one)):
            interaction = found["interaction"].sel(modality=order[0], other=order[1])
            assert interaction.item() == pytest.approx(index.item(), abs=1e-7)
