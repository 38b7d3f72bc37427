"""What encoders know, and what the model reads from them."""

import math

import pytest

from imbalance_lens.errors import SchemaError
from imbalance_lens.report import Verdict, load_report

from .planted import report, zero_out
from .planted_more import linear_probe

TWO = ("audio", "visual")
SIX = tuple(f"view_{i}" for i in range(6))
READ = {"audio": 0.95, "visual": 0.85}


def found(rule, names=TWO, **given):
    return {f.modality: f for f in report(names, **given).findings if f.rule == rule}


def underused(read, own, names=TWO, **more):
    return found("underused_encoder", names, linear_probe=linear_probe(read, own, **more))


def undertrained(read, alone, names=TWO, **more):
    ds = linear_probe(read, read, **more)
    settings = {"unimodal_accuracy": alone}
    return found("undertrained_encoder", names, linear_probe=ds, settings=settings)


def test_features_that_say_more_than_the_model_reads_are_under_used():
    judged = underused(READ, {"audio": 0.61, "visual": 0.84})
    assert judged["audio"].verdict is Verdict.YES
    assert judged["audio"].value == pytest.approx(0.34)
    assert judged["audio"].interval == pytest.approx((0.32, 0.36))
    assert (judged["audio"].threshold, judged["audio"].evidence) == (0.05, "linear_probe.gap")
    assert judged["audio"].sentence == (
        "The encoder of audio is under-used: a linear classifier gets 95.0 % from its features, "
        "its own logits in the model 61.0 %. The difference, 34.0 points (95 % interval 32.0 to "
        "36.0), is above the threshold of 5.0 points."
    )
    assert judged["visual"].verdict is Verdict.NO
    assert judged["visual"].sentence.startswith("The encoder of visual is not under-used: ")


def test_a_head_that_ignores_good_features_is_told():
    judged = underused(READ, {"audio": 0.10, "visual": 0.84})["audio"]
    assert judged.sentence.endswith(
        " The head ignores it: always giving the most frequent label gets 10.0 %."
    )


def test_an_interval_across_the_threshold_is_inconclusive():
    judged = underused(READ, {"audio": 0.90, "visual": 0.85})["audio"]
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.sentence.startswith("Whether the encoder of audio is under-used is not clear: ")
    assert judged.sentence.endswith("may be above the threshold of 5.0 points or not.")


def test_logits_that_know_more_than_a_linear_classifier_are_no_finding():
    assert underused({"audio": 0.5, "visual": 0.5}, READ)["audio"].verdict is Verdict.NO


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c"), SIX])
def test_every_encoder_is_judged(names):
    own = {name: 0.5 if name == names[-1] else 0.9 for name in names}
    judged = underused(dict.fromkeys(names, 0.9), own, names)
    assert [name for name, f in judged.items() if f.verdict is Verdict.YES] == [names[-1]]
    assert list(judged) == list(names)


@pytest.mark.parametrize("examples", [1, 19])
def test_a_handful_of_examples_decides_nothing(examples):
    judged = underused(READ, {"audio": 0.1, "visual": 0.1}, examples=examples)["audio"]
    assert (judged.verdict, judged.interval) == (Verdict.INCONCLUSIVE, None)


def test_numbers_that_are_not_finite_decide_nothing_and_are_counted():
    judged = underused(READ, {"audio": 0.1, "visual": 0.85}, nonfinite={"audio": 1, "visual": 12})
    assert {f.verdict for f in judged.values()} == {Verdict.INCONCLUSIVE}
    assert judged["audio"].sentence.endswith(" Of 1 example the numbers are not finite.")
    assert judged["visual"].sentence.endswith(" Of 12 examples the numbers are not finite.")


def test_an_unknown_gap_decides_nothing():
    judged = underused({"audio": math.nan, "visual": 0.9}, READ)["audio"]
    assert (judged.verdict, judged.value) == (Verdict.INCONCLUSIVE, None)


def test_the_logits_of_an_unreadable_modality_are_not_compared():
    readout = {"kind": "zero_out", "identifiable": {"audio": True, "visual": False}}
    ds = linear_probe(READ, {"audio": 0.1, "visual": 0.1})
    assert list(found("underused_encoder", linear_probe=ds, readout=readout)) == ["audio"]


def test_an_encoder_that_learned_less_than_alone_is_under_trained():
    judged = undertrained({"audio": 0.86, "visual": 0.85}, {"audio": 0.96, "visual": 0.86})
    assert judged["audio"].verdict is Verdict.YES
    assert judged["audio"].value == pytest.approx(0.10)
    assert judged["audio"].interval == pytest.approx((0.08, 0.12))
    assert judged["audio"].evidence == "linear_probe.accuracy"
    assert judged["audio"].sentence == (
        "The encoder of audio is under-trained: a linear classifier gets 86.0 % from its features, "
        "a model of audio alone 96.0 %. The difference, 10.0 points (95 % interval 8.0 to 12.0), "
        "is above the threshold of 5.0 points."
    )
    assert judged["visual"].verdict is Verdict.NO


def test_no_modality_dominates_and_yet_one_encoder_is_under_trained():
    made = report(
        zero_out=zero_out({"audio": 0.7, "visual": 0.7}),
        linear_probe=linear_probe({"audio": 0.7, "visual": 0.8}, {"audio": 0.7, "visual": 0.8}),
        settings={"unimodal_accuracy": {"audio": 0.8}},
    )
    yes = {(f.rule, f.modality) for f in made.findings if f.verdict is Verdict.YES}
    assert made.findings[0].verdict is Verdict.NO
    assert yes == {("undertrained_encoder", "audio")}
    assert [(r.recipe, r.modality) for r in made.recommendations] == [
        ("mlb", "audio"),
        ("ogm_ge", "audio"),
        ("fust", "audio"),
    ]
    assert "learns less here than it does alone" in made.recommendations[0].reason


@pytest.mark.parametrize(
    ("alone", "verdict"), [(0.92, "inconclusive"), (0.87, "no"), (0.5, "no"), (0.95, "yes")]
)
def test_the_interval_decides_on_training_too(alone, verdict):
    assert (
        undertrained({"audio": 0.86, "visual": 0.5}, {"audio": alone})["audio"].verdict == verdict
    )


def test_features_that_are_not_finite_make_no_encoder_under_trained():
    judged = undertrained(READ, {"audio": 1.0}, nonfinite={"audio": 3})
    assert judged["audio"].verdict is Verdict.INCONCLUSIVE


def test_only_encoders_with_something_to_compare_are_judged():
    assert list(undertrained(READ, {"visual": 0.9})) == ["visual"]
    assert undertrained(READ, {}) == {}
    assert found("undertrained_encoder", settings={"unimodal_accuracy": {"audio": 0.9}}) == {}


def test_a_report_can_be_told_later_and_stays_as_it_was():
    made = report(linear_probe=linear_probe(READ, READ), settings={"training_examples": 7})
    told = made.compared_with({"visual": 0.95})
    judged = {f.modality: f.verdict for f in told.findings if f.rule == "undertrained_encoder"}
    assert judged == {"visual": "yes"}
    assert '"training_examples": 7' in told.tree.attrs["settings"]
    assert "undertrained_encoder" not in {f.rule for f in made.findings}
    assert "unimodal" not in made.tree.attrs["settings"]


def test_what_it_was_told_survives_the_file(tmp_path):
    told = report(linear_probe=linear_probe(READ, READ)).compared_with({"visual": 0.95})
    told.save(tmp_path / "r.nc")
    assert load_report(tmp_path / "r.nc").findings == told.findings


@pytest.mark.parametrize(
    "given", [{"sound": 0.9}, {"audio": "high"}, {"audio": 90.0}, {"audio": math.nan}, 0.9]
)
def test_what_is_no_accuracy_of_a_modality_is_refused(given):
    with pytest.raises(SchemaError, match="'unimodal_accuracy' must give modalities a number from"):
        report(settings={"unimodal_accuracy": given})
