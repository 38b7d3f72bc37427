import math

import pytest

from imbalance_lens.report import Verdict

from .planted import logit_norm, report, zero_out


def found(rule, names=("audio", "visual"), **kwargs):
    return [f for f in report(names, **kwargs).findings if f.rule == rule]


def test_longer_logits_are_named():
    (only,) = found("logit_scale", logit_norm=logit_norm({"audio": 10.2, "visual": 3.0}))
    assert (only.verdict, only.modality) == (Verdict.YES, "audio")
    assert only.value == pytest.approx(3.4)
    assert "The logits of audio are 3.4 times as long as those of visual" in only.sentence


def test_logits_of_one_size_are_fine():
    (only,) = found("logit_scale", logit_norm=logit_norm({"audio": 5.0, "visual": 3.0}))
    assert (only.verdict, only.modality) == (Verdict.NO, "")


def test_the_longest_is_compared_with_the_shortest_of_many():
    names = ("a", "b", "c")
    (only,) = found("logit_scale", names, logit_norm=logit_norm({"a": 3.0, "b": 1.0, "c": 2.9}))
    assert "The logits of a are 3 times as long as those of b" in only.sentence


def test_a_constant_over_the_classes_is_no_size():
    ds = logit_norm({"audio": 10.0, "visual": 3.0}, centered={"audio": 3.3, "visual": 3.0})
    (only,) = found("logit_scale", logit_norm=ds)
    assert only.verdict is Verdict.INCONCLUSIVE
    assert "without it they are 1.1 times as long" in only.sentence


def test_the_last_quarter_of_the_epochs_is_judged_and_said():
    early = {"audio": [30.0] * 6 + [4.0] * 2, "visual": [1.0] * 6 + [2.5] * 2}
    (only,) = found("logit_scale", logit_norm=logit_norm(early))
    assert only.verdict is Verdict.NO
    assert only.value == pytest.approx(1.6)
    assert "(mean of the last 2 of 8 epochs)" in only.sentence


def test_a_late_epoch_without_a_number_is_not_passed_over():
    gone = logit_norm({"audio": [9.0] * 7 + [math.nan], "visual": [1.0] * 8})
    (only,) = found("logit_scale", logit_norm=gone)
    assert (only.verdict, only.value) == (Verdict.INCONCLUSIVE, None)


def test_a_silent_modality_is_infinitely_shorter():
    (only,) = found("logit_scale", logit_norm=logit_norm({"audio": 1.0, "visual": 0.0}))
    assert (only.verdict, only.value) == (Verdict.YES, None)
    assert "infinitely many times as long" in only.sentence


def test_unknown_logits_are_inconclusive():
    (only,) = found("logit_scale", logit_norm=logit_norm({"audio": math.nan, "visual": 1.0}))
    assert (only.verdict, only.value) == (Verdict.INCONCLUSIVE, None)


@pytest.mark.parametrize("examples", [1, 19])
def test_logits_of_a_handful_of_examples_have_no_size(examples):
    ds = logit_norm({"audio": 10.0, "visual": 1.0})
    (only,) = found("logit_scale", logit_norm=ds, examples=examples)
    assert (only.verdict, only.modality) == (Verdict.INCONCLUSIVE, "audio")


def test_unreadable_modalities_are_not_compared():
    readout = {"kind": "zero_out", "identifiable": {"audio": True, "visual": False}}
    ds = logit_norm({"audio": 10.0, "visual": 1.0})
    assert found("logit_scale", logit_norm=ds, readout=readout) == []


def test_logits_that_are_not_finite_are_counted_per_set():
    ds = zero_out(
        {"audio": 0.8, "visual": 0.3}, nonfinite={"": 1, "visual": 7, "audio+visual": 1200}
    )
    (only,) = found("nonfinite_logits", zero_out=ds)
    assert (only.verdict, only.value) == (Verdict.YES, 1200.0)
    assert only.sentence == (
        "Logits are not finite, so their examples count as wrong: 1,200 with all modalities, 7 "
        "with visual only, 1 with no modality, of 500 examples."
    )


def test_many_sets_are_not_all_listed():
    names = tuple("abcdef")
    nonfinite = dict.fromkeys(names, 5)
    ds = zero_out(dict.fromkeys(names, 0.5), nonfinite=nonfinite)
    (only,) = found("nonfinite_logits", names, zero_out=ds)
    assert "and so on for 3 more sets" in only.sentence


def test_finite_logits_are_fine():
    (only,) = found("nonfinite_logits", zero_out=zero_out({"audio": 0.8, "visual": 0.3}))
    assert only.verdict is Verdict.NO


@pytest.mark.parametrize(
    ("examples", "verdict", "words"),
    [
        (1, "yes", "The model was shown 1 example, fewer than 20: too few for any verdict"),
        (50, "yes", "50 examples, fewer than 100: the intervals are wide."),
        (100, "no", "The model was shown 100 examples."),
    ],
)
def test_few_examples_are_said(examples, verdict, words):
    (only,) = found("few_examples", examples=examples)
    assert (only.verdict, only.value) == (verdict, examples)
    assert words in only.sentence


def test_notes_and_entangled_encoders_are_passed_on():
    anatomy = {
        "encoders": {"audio": "a", "visual": "v"},
        "entangled": {"visual": "cross attention"},
    }
    note = "The input 'meta' reaches the logits past a, v."
    assert [f.sentence for f in found("note", notes=[note])] == [note]
    (only,) = found("entangled_encoder", anatomy=anatomy)
    assert only.modality == "visual"
    assert only.sentence.endswith("cross attention")


def test_an_empty_report_finds_only_what_it_knows():
    assert [f.rule for f in report().findings] == ["few_examples"]


def test_dominance_comes_first():
    findings = report(
        zero_out=zero_out({"audio": 0.8, "visual": 0.3}),
        logit_norm=logit_norm({"audio": 9.0, "visual": 3.0}),
    ).findings
    assert findings[0].rule == "dominance"


def test_every_finding_is_ready_for_json():
    import json

    ds = zero_out({"audio": 0.8, "visual": 0.3}, spread={"visual": float("nan")})
    made = report(zero_out=ds, logit_norm=logit_norm({"audio": 1.0, "visual": 0.0}))
    texts = [json.dumps(f.as_dict(), allow_nan=False) for f in made.findings]
    assert json.loads(texts[0])["verdict"] == "yes"
    assert [json.dumps(r.as_dict()) for r in made.recommendations]
