"""A verdict on dominance does not rest on one probe."""

import math

import pytest

from imbalance_lens.report import Verdict

from .planted import report, zero_out
from .planted_more import permutation, shapley

TWO = ("audio", "visual")
THREE = ("audio", "text", "visual")
SIX = tuple(f"view_{i}" for i in range(6))
STRONG = {"audio": 0.8, "visual": 0.3}
LEVEL = {"audio": 0.7, "visual": 0.7}


def judged(names=TWO, **datasets):
    (found,) = [f for f in report(names, **datasets).findings if f.rule == "dominance"]
    return found


def shares(correct):
    return shapley({"confidence": dict.fromkeys(correct, 0.0), "correct": correct})


@pytest.mark.parametrize("names", [TWO, THREE, SIX])
def test_witnesses_that_agree_are_named(names):
    alone = {name: 0.8 if name == names[1] else 0.3 for name in names}
    drop = {name: 0.4 if name == names[1] else 0.02 for name in names}
    found = judged(
        names, zero_out=zero_out(alone, drop), permutation=permutation(drop), shapley=shares(alone)
    )
    assert (found.verdict, found.modality) == (Verdict.YES, names[1])
    assert found.sentence.endswith(
        "and the true-class confidence, permutation and Shapley values agree."
    )


def test_only_witnesses_that_are_there_are_named():
    found = judged(zero_out=zero_out(STRONG), permutation=permutation(STRONG))
    assert found.sentence.endswith("and the true-class confidence and permutation agree.")


def test_a_cost_of_exchanging_that_points_the_other_way_is_inconclusive():
    ds = permutation({"audio": 0.03, "visual": 0.15})
    found = judged(zero_out=zero_out(STRONG), permutation=ds, shapley=shares(STRONG))
    assert (found.verdict, found.modality) == (Verdict.INCONCLUSIVE, "audio")
    assert (found.evidence, found.threshold) == ("permutation.drop_gap", 0.0)
    assert found.value == pytest.approx(-0.12)
    assert found.interval == pytest.approx((-0.14, -0.10))
    assert found.sentence == (
        "Whether a modality dominates is not clear, for the indicators disagree: audio is ahead "
        "in accuracy (80.0 % alone), but its lead over visual in accuracy lost when exchanged "
        "between examples, -12.0 points (95 % interval -14.0 to -10.0), is none."
    )


def test_a_shapley_value_that_points_the_other_way_is_inconclusive():
    alone = {"audio": 0.8, "text": 0.3, "visual": 0.4}
    ds = shares({"audio": 0.3, "text": 0.1, "visual": 0.3})
    claims = zero_out(alone, {"audio": 0.3, "text": 0.1, "visual": 0.1})
    found = judged(THREE, zero_out=claims, shapley=ds)
    assert (found.verdict, found.evidence) == (Verdict.INCONCLUSIVE, "shapley.contribution_gap")
    assert "its lead over visual in Shapley share of the accuracy, 0.0 points" in found.sentence


def test_a_witness_needs_no_interval_to_point_somewhere():
    few = permutation({"audio": 0.03, "visual": 0.15}, examples=5)
    found = judged(zero_out=zero_out(STRONG), permutation=few)
    assert (found.verdict, found.interval) == (Verdict.INCONCLUSIVE, None)
    assert "-12.0 points, is none." in found.sentence


def test_a_witness_that_is_not_known_for_a_pair_is_inconclusive():
    ds = permutation({"audio": 0.5, "text": 0.1, "visual": math.nan})
    alone = {"audio": 0.8, "text": 0.3, "visual": 0.4}
    claims = zero_out(alone, {"audio": 0.3, "text": 0.1, "visual": 0.1})
    found = judged(THREE, zero_out=claims, permutation=ds)
    assert (found.verdict, found.value) == (Verdict.INCONCLUSIVE, None)
    assert "its lead over visual in accuracy lost when exchanged between examples is not known" in (
        found.sentence
    )


def test_a_probe_without_labels_is_no_witness():
    found = judged(
        zero_out=zero_out(STRONG), permutation=permutation({"audio": 0.1, "visual": 0.9}, labeled=0)
    )
    assert found.verdict is Verdict.YES
    assert "permutation" not in found.sentence


def test_shares_of_the_accuracy_go_before_those_of_the_confidence():
    against = {"audio": 0.1, "visual": 0.5}
    ds = shapley({"confidence": against, "correct": STRONG})
    assert judged(zero_out=zero_out(STRONG), shapley=ds).verdict is Verdict.YES
    found = judged(zero_out=zero_out(STRONG), shapley=ds.sel(value=["confidence"]))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "in Shapley share of the true-class confidence" in found.sentence


def test_shares_of_something_else_are_no_witness():
    ds = shapley({"log_probability": {"audio": -1.0, "visual": 5.0}})
    assert judged(zero_out=zero_out(STRONG), shapley=ds).verdict is Verdict.YES


def test_level_modalities_of_which_one_is_perceived_are_inconclusive():
    ds = permutation({"audio": 0.6, "visual": 0.1})
    found = judged(zero_out=zero_out(LEVEL), permutation=ds)
    assert (found.verdict, found.modality) == (Verdict.INCONCLUSIVE, "audio")
    assert (found.evidence, found.threshold) == ("permutation.drop_gap", 0.05)
    assert found.sentence == (
        "Whether a modality dominates is not clear, for the indicators disagree: by what each "
        "modality does alone and left out none is ahead of every other, but in accuracy lost when "
        "exchanged between examples audio is, by 50.0 points (95 % interval 48.0 to 52.0) over "
        "visual."
    )


@pytest.mark.parametrize(
    "ds",
    [
        permutation({"audio": 0.3, "visual": 0.28}),
        permutation({"audio": 0.37, "visual": 0.30}, width=0.03),
        permutation({"audio": 0.9, "visual": 0.1}, examples=19),
    ],
    ids=["close", "unsure", "few"],
)
def test_level_modalities_stay_level_unless_a_witness_is_sure(ds):
    assert judged(zero_out=zero_out(LEVEL), permutation=ds).verdict is Verdict.NO


def test_a_shared_lead_stays_shared_if_it_is_perceived_so():
    alone = {"audio": 0.8, "text": 0.8, "visual": 0.3}
    claims = zero_out(alone, {"audio": 0.2, "text": 0.2, "visual": 0.0})
    shared = permutation({"audio": 0.4, "text": 0.4, "visual": 0.0})
    assert judged(THREE, zero_out=claims, permutation=shared).verdict is Verdict.NO
    one = permutation({"audio": 0.6, "text": 0.1, "visual": 0.0})
    found = judged(THREE, zero_out=claims, permutation=one)
    assert (found.verdict, found.modality) == (Verdict.INCONCLUSIVE, "audio")
    assert "over text." in found.sentence


def test_a_witness_alone_gives_no_verdict():
    assert not [
        f for f in report(permutation=permutation(STRONG)).findings if f.rule == "dominance"
    ]


def test_a_witness_that_does_not_know_a_modality_is_heard_on_the_others():
    ds = permutation({"audio": 0.5, "visual": 0.1})
    alone = {"audio": 0.8, "text": 0.3, "visual": 0.4}
    claims = zero_out(alone, {"audio": 0.3, "text": 0.1, "visual": 0.1})
    found = judged(THREE, zero_out=claims, permutation=ds)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "over text" in found.sentence
    assert "is not known" in found.sentence
