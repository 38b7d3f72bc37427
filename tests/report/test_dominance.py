import numpy as np
import pytest

from imbalance_lens.report import Verdict

from .planted import report, zero_out

TWO = ("audio", "visual")
THREE = ("audio", "text", "visual")
SIX = tuple(f"view_{i}" for i in range(6))


def judged(names, *args, **kwargs):
    (found,) = [
        f
        for f in report(names, zero_out=zero_out(*args, **kwargs)).findings
        if f.rule == "dominance"
    ]
    return found


def test_the_planted_modality_dominates_and_the_sentence_says_why():
    found = judged(TWO, {"audio": 0.86, "visual": 0.31}, full=0.88)
    assert (found.verdict, found.modality) == (Verdict.YES, "audio")
    assert found.value == pytest.approx(0.55)
    assert found.interval == pytest.approx((0.53, 0.57))
    assert (found.threshold, found.evidence) == (0.05, "zero_out.alone_gap")
    assert found.sentence == (
        "audio dominates: alone it gets 86.0 % of the examples right, visual 31.0 %; leaving it "
        "out costs 57.0 points, leaving out visual costs 2.0 points. Its lead, 55.0 points (95 % "
        "interval 53.0 to 57.0), is above the threshold of 5.0 points, and the true-class "
        "confidence agrees."
    )


@pytest.mark.parametrize("names", [TWO, THREE, SIX])
@pytest.mark.parametrize("position", [0, -1])
def test_it_is_found_among_any_number_of_modalities_wherever_it_stands(names, position):
    strong = names[position]
    alone = {name: 0.8 if name == strong else 0.3 for name in names}
    drop = {name: 0.4 if name == strong else 0.02 for name in names}
    found = judged(names, alone, drop)
    assert (found.verdict, found.modality) == (Verdict.YES, strong)


def test_the_weaker_of_its_two_leads_decides():
    alone = {"audio": 0.8, "text": 0.3, "visual": 0.4}
    found = judged(THREE, alone, {"audio": 0.3, "text": 0.2, "visual": 0.1})
    assert (found.verdict, found.evidence) == (Verdict.YES, "zero_out.drop_gap")
    assert found.value == pytest.approx(0.1)
    assert "the next best, visual, 40.0 %" in found.sentence
    assert "leaving out text costs 20.0 points" in found.sentence


def test_level_modalities_give_a_no():
    found = judged(TWO, {"audio": 0.7, "visual": 0.71})
    assert (found.verdict, found.modality) == (Verdict.NO, "")
    assert found.sentence.startswith(
        "No modality dominates: audio and visual are level, alone and left out."
    )
    assert found.value == pytest.approx(0.01, abs=0.03)


def test_an_interval_across_the_threshold_is_inconclusive():
    found = judged(TWO, {"audio": 0.7, "visual": 0.63}, width=0.03)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.interval == pytest.approx((0.04, 0.10))
    assert "audio comes closest to it" in found.sentence
    assert "7.0 points (95 % interval 4.0 to 10.0), may be above" in found.sentence


def test_a_lead_that_is_wide_of_the_mark_but_not_surely_small_is_inconclusive():
    found = judged(TWO, {"audio": 0.70, "visual": 0.70}, width=0.06)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_shared_lead_is_no_dominance_but_is_told():
    alone = {"audio": 0.8, "text": 0.8, "visual": 0.3}
    found = judged(THREE, alone, {"audio": 0.2, "text": 0.2, "visual": 0.0})
    assert (found.verdict, found.modality) == (Verdict.NO, "")
    assert found.sentence.startswith("No single modality dominates: audio gets most examples right")
    assert "50.0 points (95 % interval 48.0 to 52.0): visual behind" in found.sentence


def test_indicators_that_name_different_modalities_are_inconclusive():
    alone = {"audio": 0.8, "text": 0.6, "visual": 0.3}
    found = judged(THREE, alone, {"audio": 0.1, "text": 0.4, "visual": 0.0})
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the indicators disagree: audio is ahead in accuracy alone (80.0 %)" in found.sentence
    assert "but text in accuracy lost when left out (costs 40.0 points)" in found.sentence


@pytest.mark.parametrize(
    ("alone", "drop", "sure", "unsure"),
    [
        ((0.8, 0.3, 0.3), (0.1, 0.1, 0.1), "accuracy alone", "accuracy lost when left out"),
        ((0.6, 0.6, 0.6), (0.4, 0.1, 0.1), "accuracy lost when left out", "accuracy alone"),
    ],
)
def test_a_lead_in_one_indicator_only_is_inconclusive(alone, drop, sure, unsure):
    found = judged(THREE, dict(zip(THREE, alone, strict=True)), dict(zip(THREE, drop, strict=True)))
    assert (found.verdict, found.modality) == (Verdict.INCONCLUSIVE, "audio")
    assert f"every other modality in {sure}, but" in found.sentence
    assert f"in {unsure}, 0.0 points" in found.sentence


def test_confidence_that_points_the_other_way_is_inconclusive():
    found = judged(TWO, {"audio": 0.8, "visual": 0.5}, confidence={"audio": 0.30, "visual": 0.35})
    assert (found.verdict, found.modality) == (Verdict.INCONCLUSIVE, "audio")
    assert found.evidence == "zero_out.confidence_gap"
    assert found.value == pytest.approx(-0.05)
    assert "gives the true class no more probability than visual does" in found.sentence


def test_confidence_that_is_not_known_is_inconclusive():
    ds = zero_out({"audio": 0.8, "visual": 0.5})
    ds["confidence_gap"][:] = np.nan
    found = report(zero_out=ds).findings[0]
    assert (found.verdict, found.value) == (Verdict.INCONCLUSIVE, None)
    assert "is not known" in found.sentence


def test_a_gap_that_is_not_known_is_inconclusive():
    ds = zero_out({"audio": 0.8, "visual": 0.5})
    ds["alone_gap"][:] = np.nan
    found = report(zero_out=ds).findings[0]
    assert (found.verdict, found.value, found.interval) == (Verdict.INCONCLUSIVE, None, None)
    assert "the difference between audio and visual is not known" in found.sentence


@pytest.mark.parametrize("examples", [1, 19])
def test_a_handful_of_examples_decides_nothing(examples):
    found = judged(TWO, {"audio": 1.0, "visual": 0.0}, examples=examples, width=0.0)
    assert (found.verdict, found.interval) == (Verdict.INCONCLUSIVE, None)
    assert "differ by 100.0 points, but there is no interval to judge by" in found.sentence
    assert "20 examples" in found.sentence


def test_a_modality_that_is_not_identifiable_makes_it_inconclusive():
    found = judged(TWO, {"audio": 0.8, "visual": 0.3}, spread={"visual": 0.0})
    assert (found.verdict, found.evidence) == (Verdict.INCONCLUSIVE, "zero_out.spread")
    assert found.sentence.endswith("for what visual says alone cannot be read.")


def test_the_others_are_still_compared():
    alone = {"audio": 0.8, "text": 0.3, "visual": 0.9}
    found = judged(THREE, alone, {"audio": 0.4, "text": 0.1, "visual": 0.5}, spread={"visual": 0.0})
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "what visual says alone cannot be read. Among the others: audio dominates" in (
        found.sentence
    )


def test_without_the_probe_nothing_is_judged():
    assert [f for f in report().findings if f.rule == "dominance"] == []


def test_a_dataset_that_lacks_a_variable_is_not_judged():
    ds = zero_out({"audio": 0.8, "visual": 0.3}).drop_vars("drop_gap")
    assert [f for f in report(zero_out=ds).findings if f.rule == "dominance"] == []


def test_the_names_may_be_anything():
    names = ("a+b", "", "head", "ä/ö", "x" * 60)
    alone = {name: 0.8 if name == "head" else 0.3 for name in names}
    drop = {name: 0.4 if name == "head" else 0.02 for name in names}
    assert judged(names, alone, drop).modality == "head"
