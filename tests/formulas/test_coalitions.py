import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import additivity_gap, coalitions, shapley_values
from tests.formulas import twins
from tests.golden import NUMBERS

NAMES = ["audio", "visual", "text", "depth"]


def game(values):
    """A value for each coalition of as many modalities as the values allow."""
    names = NAMES[: int(math.log2(len(values)))]
    return dict(zip(coalitions(names), values, strict=True))


def tensors(values):
    return {members: torch.tensor(value, dtype=torch.float64) for members, value in values.items()}


def games():
    sizes = st.sampled_from([2, 4, 8, 16])
    return sizes.flatmap(lambda n: st.lists(st.floats(-5, 5), min_size=n, max_size=n)).map(game)


def test_coalitions_come_in_order_of_size():
    found = [tuple(sorted(members)) for members in coalitions(["b", "a", "c"])]
    assert found == [
        (),
        ("b",),
        ("a",),
        ("c",),
        ("a", "b"),
        ("b", "c"),
        ("a", "c"),
        ("a", "b", "c"),
    ]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_there_are_two_to_the_number_of_modalities(count):
    names = [str(m) for m in range(count)]
    assert len(set(coalitions(names))) == 2**count


def test_the_shares_of_two_are_the_golden_ones():
    golden = NUMBERS["shapley"]
    values = {frozenset(key.replace("0", "")): torch.tensor(v) for key, v in golden["M2 v"].items()}
    found = shapley_values(values)
    assert [found["a"].item(), found["v"].item()] == pytest.approx(golden["M2 phi"])


def test_the_shares_of_three_are_the_golden_ones():
    golden = NUMBERS["shapley"]
    values = {frozenset(key): torch.tensor(value) for key, value in golden["M3 v"].items()}
    found = [share.item() for share in shapley_values(values).values()]
    assert found == pytest.approx(golden["M3 phi"], abs=1e-6)
    assert sum(found) == pytest.approx(golden["M3 sum"], abs=1e-6)


@pytest.mark.parametrize("case", list(NUMBERS["sample_val"]))
def test_the_shares_of_single_examples_are_the_golden_ones(case):
    both, audio, visual = (int(part[-1]) for part in case.split(","))
    sizes = {(): 0, ("a",): audio, ("v",): visual, ("a", "v"): 2 * both}
    found = shapley_values({frozenset(s): torch.tensor(v) for s, v in sizes.items()})
    assert [found["a"].item(), found["v"].item()] == NUMBERS["sample_val"][case]


def test_the_shares_of_logits_are_the_golden_ones():
    golden = NUMBERS["agm_mono"]
    values = {"": [0.0, 0.0], "a": golden["v(a)"], "v": golden["v(v)"], "av": golden["v(av)"]}
    found = shapley_values({frozenset(s): torch.tensor(v) for s, v in values.items()})
    torch.testing.assert_close(found["a"], torch.tensor(golden["phi_a"]))
    torch.testing.assert_close(found["v"], torch.tensor(golden["phi_v"]))


@given(games())
def test_the_shares_are_the_mean_gain_over_all_orders_of_arrival(values):
    found = {name: share.item() for name, share in shapley_values(tensors(values)).items()}
    names = list(found)
    assert found == pytest.approx(twins.shapley_by_orders(names, values), abs=1e-12)


@given(games())
def test_the_shares_sum_to_what_all_have_over_none(values):
    found = shapley_values(tensors(values)).values()
    everyone = max(values, key=len)
    gained = values[everyone] - values[frozenset()]
    assert math.fsum(share.item() for share in found) == pytest.approx(gained, abs=1e-12)


@given(games())
def test_a_modality_that_adds_nothing_gets_nothing(values):
    extended = values | {members | {"idle"}: value for members, value in values.items()}
    found = shapley_values(tensors(extended))
    assert found["idle"].item() == pytest.approx(0, abs=1e-12)
    for name, share in shapley_values(tensors(values)).items():
        assert found[name].item() == pytest.approx(share.item(), abs=1e-12)


@given(games(), st.permutations(NAMES))
def test_other_names_only_rename_the_shares(values, order):
    renamed = dict(zip(NAMES, order, strict=True))
    moved = {frozenset(renamed[name] for name in members): v for members, v in values.items()}
    found = shapley_values(tensors(moved))
    for name, share in shapley_values(tensors(values)).items():
        assert found[renamed[name]].item() == pytest.approx(share.item(), abs=1e-12)


def test_the_shares_stand_in_the_order_of_the_single_modalities():
    values = {members: torch.tensor(0.0) for members in coalitions(["z", "a", "m"])}
    assert list(shapley_values(values)) == ["z", "a", "m"]


def test_truth_values_and_half_precision_are_raised():
    right = {members: torch.tensor([bool(members), True]) for members in coalitions("av")}
    assert [share.tolist() for share in shapley_values(right).values()] == [[0.5, 0], [0.5, 0]]
    half = {members: torch.tensor(1.0).half() for members in coalitions("av")}
    assert shapley_values(half)["a"].dtype is torch.float32


def test_nan_reaches_every_share():
    values = game([0.0, 1.0, math.nan, 1.0])
    assert all(share.isnan() for share in shapley_values(tensors(values)).values())


def test_a_missing_coalition_is_named():
    values = tensors(game([0.0] * 8))
    del values[frozenset()], values[frozenset({"audio", "text"})]
    with pytest.raises(SettingError, match=r"all 8 coalitions.*missing: \{\}, \{audio, text\}\."):
        shapley_values(values)
    with pytest.raises(SettingError, match=r"missing: \{\}, .* and 11 more\."):
        shapley_values({frozenset(NAMES): torch.tensor(1.0)})
    with pytest.raises(SettingError, match=r"missing: \{\}\."):
        shapley_values({})


def test_a_coalition_that_is_no_frozenset_is_refused():
    with pytest.raises(SettingError, match="must be a frozenset of modalities; got 'audio'"):
        shapley_values({"audio": torch.tensor(1.0)})  # pyright: ignore


def answers(head, features):
    """What a head says to all, to none, and to each alone, with zeros for the absent."""

    def ask(present):
        return head({n: f if n in present else torch.zeros_like(f) for n, f in features.items()})

    return ask(set(features)), ask(set()), {name: ask({name}) for name in features}


def test_a_linear_head_adds_and_a_gate_does_not():
    features = {name: torch.randn(8, 3).double() for name in ("a", "b", "c")}
    weight, bias = torch.randn(4, 9).double(), torch.randn(4).double()

    def linear(given):
        return torch.cat(list(given.values()), 1) @ weight.T + bias

    def gated(given):
        return linear({**given, "a": given["a"].sigmoid() * given["b"]})

    assert additivity_gap(*answers(linear, features)) < 1e-14
    assert additivity_gap(*answers(gated, features)) > 0.05


def test_the_golden_mlp_does_not_add():
    golden = NUMBERS["mlp"]
    everything, none, x, y = (
        torch.tensor(golden[key]).double() for key in ("full", "none", "x only", "y only")
    )
    # x + y - none = (0, -0.1) is off by (1, 0.1), of the (0.5, 0.4) that all gain over none
    wanted = math.hypot(1, 0.1) / math.hypot(0.5, 0.4)
    gap = additivity_gap(everything, none, {"x": x, "y": y})
    assert gap.item() == pytest.approx(wanted)


def test_the_golden_gate_does_not_add():
    golden = NUMBERS["film"]
    full, x, y, none = (torch.tensor(v, dtype=torch.float64) for v in golden.values())
    wanted = torch.dist(full, x + y - none) / torch.dist(full, none)
    assert additivity_gap(full, none, {"x": x, "y": y}).item() == pytest.approx(wanted.item())


def test_a_head_that_hears_nobody_has_no_gap_to_speak_of():
    same = torch.ones(2, 3)
    assert additivity_gap(same, same, {"a": same, "b": same}).isnan()


def test_logits_of_different_shapes_have_no_gap():
    with pytest.raises(SettingError, match=r"none_logits must be of the shape of all_logits"):
        additivity_gap(torch.zeros(2, 3), torch.zeros(1, 3), dict.fromkeys("ab", torch.zeros(2, 3)))
