"""Findings on a running training judge its last quarter, and say so."""

import math

import pytest

import imbalance_lens as lens
from imbalance_lens.report import Verdict
from imbalance_lens.report.reading import TRAINING_EXAMPLES
from imbalance_lens.testing import planted

from .planted import report
from .planted_more import discrepancy, gradient_conflict

TWO = ("audio", "visual")
DIAGNOSED = {TRAINING_EXAMPLES: 0}


def found(rule, names=TWO, **given):
    return {f.modality: f for f in report(names, **given).findings if f.rule == rule}


def conflicts(cosines, settings=DIAGNOSED, **more):
    ds = gradient_conflict(cosines)
    return found(
        "conflicting_gradients", tuple(cosines), gradient_conflict=ds, settings=settings, **more
    )


def lead(scores, **more):
    judged = found("training_lead", tuple(scores), discrepancy=discrepancy(scores), **more)
    (only,) = judged.values()
    return only


def test_gradients_that_point_apart_are_in_conflict():
    judged = conflicts({"audio": [0.5, 0.6, 0.4, 0.5], "visual": [-0.3, -0.4, -0.3, -0.2]})
    assert judged["visual"].verdict is Verdict.YES
    assert judged["visual"].value == pytest.approx(-0.3)
    reach = 3 * 0.0816496580927726 / 2
    assert judged["visual"].interval == pytest.approx((-0.3 - reach, -0.3 + reach))
    assert judged["visual"].evidence == "gradient_conflict.mean_cosine"
    assert judged["visual"].sentence == (
        "What helps the joint loss sets the encoder of visual back: the mean cosine of its joint "
        "and its own gradient over 4 batches is -0.30 (-0.42 to -0.18 with its errors)."
    )
    assert judged["audio"].verdict is Verdict.NO
    assert judged["audio"].sentence.startswith("What helps the joint loss helps the encoder of au")


@pytest.mark.parametrize("cosines", [[-0.5, 0.4, -0.6, 0.3], [-0.9], [-0.5, math.nan, -0.5, -0.5]])
def test_doubt_single_batches_and_unknown_cosines_are_inconclusive(cosines):
    judged = conflicts({"audio": cosines, "visual": [0.5] * len(cosines)})["audio"]
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "over 1 batch is -0.90." in judged.sentence or len(cosines) > 1


def test_an_encoder_without_parameters_of_its_own_is_not_judged():
    assert list(conflicts({"audio": [math.nan] * 4, "visual": [0.5] * 4})) == ["visual"]


def test_only_readable_modalities_have_a_loss_of_their_own():
    readout = {"kind": "zero_out", "identifiable": {"audio": False, "visual": True}}
    assert list(conflicts({"audio": [0.5] * 4, "visual": [0.5] * 4}, readout=readout)) == ["visual"]


@pytest.mark.parametrize("names", [("a", "b", "c"), tuple("abcdef")])
def test_every_encoder_is_judged(names):
    judged = conflicts({n: [-0.5, -0.4] if n == "b" else [0.5, 0.4] for n in names})
    assert {n: f.verdict == "yes" for n, f in judged.items()} == {n: n == "b" for n in names}


def test_the_last_quarter_of_a_training_decides_on_gradients():
    early, late = [0.9] * 12, [-0.3, -0.2, -0.3, -0.2]
    judged = conflicts({"audio": early + late, "visual": late * 4}, settings={})
    assert judged["audio"].verdict is Verdict.YES
    assert judged["audio"].value == pytest.approx(-0.25)
    assert "over the last 4 of 16 steps is -0.25" in judged["audio"].sentence
    diagnosed = conflicts({"audio": early + late, "visual": late * 4})
    assert diagnosed["audio"].verdict is Verdict.NO
    assert "over 16 batches" in diagnosed["audio"].sentence


def test_one_late_step_shows_nothing():
    judged = conflicts({"audio": [-0.5] * 4, "visual": [-0.5] * 4}, settings={})
    assert {f.verdict for f in judged.values()} == {Verdict.INCONCLUSIVE}


def test_the_modality_that_is_ahead_in_the_last_quarter_is_named():
    judged = lead({"audio": [0.1] * 15 + [0.8] * 5, "visual": [0.9] * 15 + [0.4] * 5})
    assert (judged.verdict, judged.modality) == (Verdict.YES, "audio")
    assert judged.value == pytest.approx(2.0)
    assert (judged.threshold, judged.evidence) == (1.25, "discrepancy.score")
    assert judged.sentence == (
        "audio was far ahead of every other modality in training: in the last 5 of 20 steps, the "
        "true-class score of audio was 2 times the next best (2 to 2 in 9 of 10 of them); the "
        "threshold is 1.25."
    )


@pytest.mark.parametrize(
    ("late", "verdict"), [([0.5, 0.5, 0.5], "no"), ([0.9, 0.2, 0.9], "inconclusive")]
)
def test_level_and_changing_leads_are_told_apart(late, verdict):
    judged = lead({"audio": [0.9] * 9 + late, "visual": [0.5] * 12})
    assert (judged.verdict, judged.modality) == (verdict, "")


def test_being_ahead_of_some_is_not_being_ahead_of_all():
    judged = lead({"a": [0.8] * 4, "b": [0.78] * 4, "c": [0.1] * 4})
    assert judged.verdict is Verdict.NO
    assert judged.sentence.startswith("None of a, b and c was far ahead in training: ")


def test_it_is_found_among_six():
    judged = lead({name: [0.8 if name == "f" else 0.3] * 8 for name in "abcdef"})
    assert (judged.verdict, judged.modality) == (Verdict.YES, "f")


@pytest.mark.parametrize("unknown", [math.nan, 0.0])
def test_a_score_that_is_no_number_is_inconclusive(unknown):
    judged = lead({"audio": [0.5] * 8, "visual": [0.5] * 7 + [unknown]})
    assert (judged.verdict, judged.value) == (Verdict.INCONCLUSIVE, None)


def test_batches_of_a_diagnosis_are_no_steps_of_a_training():
    ds = discrepancy({"audio": [0.9] * 8, "visual": [0.1] * 8})
    assert found("training_lead", discrepancy=ds, settings=DIAGNOSED) == {}


def test_a_diagnosis_says_that_it_is_one():
    model, loader = planted("audio", examples=64)
    made = lens.diagnose(model, loader, probes=["discrepancy"])
    assert TRAINING_EXAMPLES in lens.schema.from_json(made.tree.attrs["settings"])
    assert "training_lead" not in {f.rule for f in made.findings}
