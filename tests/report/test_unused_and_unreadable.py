import pytest

from imbalance_lens.report import Verdict

from .planted import report, zero_out

ALONE = {"audio": 0.8, "visual": 0.3}


def found(rule, **kwargs):
    return {f.modality: f for f in report(**kwargs).findings if f.rule == rule}


def test_a_modality_without_effect_is_unused():
    ds = zero_out(ALONE, spread={"visual": 0.0}, effect={"visual": 0.0})
    judged = found("unused_modality", zero_out=ds)
    assert judged["visual"].verdict is Verdict.YES
    assert judged["visual"].evidence == "zero_out.effect"
    assert judged["visual"].sentence == (
        "visual is not used: leaving it out does not move the logits (0 times their spread)."
    )
    assert judged["audio"].verdict is Verdict.NO


def test_a_modality_that_neither_costs_nor_knows_anything_is_unused():
    alone, drop = {"audio": 0.8, "visual": 0.1}, {"audio": 0.7, "visual": 0.0}
    judged = found("unused_modality", zero_out=zero_out(alone, drop, width=0.009))["visual"]
    assert (judged.verdict, judged.evidence) == (Verdict.YES, "zero_out.drop")
    assert judged.interval == pytest.approx((-0.009, 0.009))
    assert judged.sentence.startswith("visual counts for next to nothing: leaving it out costs")
    assert judged.sentence.endswith("always giving the most frequent label gets 10.0 %.")


def test_a_redundant_modality_is_not_called_unused():
    alone, drop = {"audio": 0.9, "visual": 0.8}, {"audio": 0.1, "visual": 0.0}
    judged = found("unused_modality", zero_out=zero_out(alone, drop, width=0.005))["visual"]
    assert judged.verdict is Verdict.NO
    assert "adds nothing to the others, but is not ignored" in judged.sentence


def test_a_modality_that_only_matters_together_is_used():
    alone, drop = {"audio": 0.1, "visual": 0.1}, {"audio": 0.8, "visual": 0.8}
    judged = found("unused_modality", zero_out=zero_out(alone, drop))
    assert [f.verdict for f in judged.values()] == [Verdict.NO, Verdict.NO]


def test_a_modality_that_harms_is_used():
    alone, drop = {"audio": 0.8, "visual": 0.1}, {"audio": 0.8, "visual": -0.2}
    judged = found("unused_modality", zero_out=zero_out(alone, drop))["visual"]
    assert judged.verdict is Verdict.NO
    assert "leaving it out gains 20.0 points" in judged.sentence


def test_a_wide_interval_leaves_it_open():
    alone, drop = {"audio": 0.8, "visual": 0.1}, {"audio": 0.8, "visual": 0.0}
    judged = found("unused_modality", zero_out=zero_out(alone, drop, width=0.02))["visual"]
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "may be within the threshold of 1.0 points or not" in judged.sentence


def test_too_few_examples_leave_it_open():
    judged = found("unused_modality", zero_out=zero_out(ALONE, examples=5))["visual"]
    assert (judged.verdict, judged.interval) == (Verdict.INCONCLUSIVE, None)
    assert "interval" not in judged.sentence


def test_a_constant_score_of_a_modality_in_use_is_unreadable():
    ds = zero_out(ALONE, spread={"visual": 1e-9}, effect={"visual": 0.7})
    judged = found("not_identifiable", zero_out=ds)
    assert list(judged) == ["visual"]
    assert (judged["visual"].verdict, judged["visual"].value) == (Verdict.YES, 1e-9)
    assert "with the features of audio set to zero" in judged["visual"].sentence
    assert "moves them by 0.7 times their spread" in judged["visual"].sentence
    assert "visual" not in found("unused_modality", zero_out=ds)


def test_no_score_is_constant_by_default():
    judged = found("not_identifiable", zero_out=zero_out(ALONE))
    assert [(f.modality, f.verdict) for f in judged.values()] == [("", Verdict.NO)]


def test_numbers_that_are_not_known_make_nothing_unreadable():
    ds = zero_out(ALONE, spread={"visual": float("nan")}, effect={"visual": float("nan")})
    assert list(found("not_identifiable", zero_out=ds)) == [""]


def test_the_readout_can_say_so_too():
    readout = {"kind": "zero_out", "additivity_gap": 0.4, "reason": "a gate"}
    readout["identifiable"] = {"audio": True, "visual": False}
    judged = found("not_identifiable", readout=readout)
    assert (list(judged), judged["visual"].evidence) == (["visual"], "readout.identifiable")
    assert "(a gate)" in judged["visual"].sentence


def test_one_modality_is_named_once_even_if_both_say_so():
    readout = {"kind": "zero_out", "identifiable": {"audio": True, "visual": False}}
    ds = zero_out(ALONE, spread={"visual": 0.0})
    findings = report(zero_out=ds, readout=readout).findings
    (only,) = [f for f in findings if f.rule == "not_identifiable"]
    assert only.evidence == "zero_out.spread"
