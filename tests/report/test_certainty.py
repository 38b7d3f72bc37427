import math

import pytest

from imbalance_lens.report import Verdict

from .planted import report
from .planted_more import calibration

TWO = ("audio", "visual")
FINE = (0.8, 0.8, 1000)


def found(heads, names=TWO, **more):
    heads = {**dict.fromkeys((*names, "joint"), FINE), **heads}
    findings = report(names, calibration=calibration(heads), **more).findings
    return {f.modality: f for f in findings if f.rule == "overconfident_modality"}


def test_a_modality_that_is_far_surer_than_right_is_overconfident():
    judged = found({"audio": (0.9, 0.6, 1000)})
    assert judged["audio"].verdict is Verdict.YES
    assert judged["audio"].value == pytest.approx(0.3)
    assert (judged["audio"].threshold, judged["audio"].evidence) == (0.1, "calibration.error")
    assert judged["audio"].sentence == (
        "audio alone is overconfident: on average it is 30.0 points surer than right, with an "
        "expected calibration error of 30.0 points, where chance alone would make 0.8; the "
        "threshold is 10.0 points."
    )
    assert (judged["visual"].verdict, judged[""].verdict) == ("no", "no")


def test_the_model_is_judged_too():
    judged = found({"joint": (0.9, 0.6, 1000)})[""]
    assert judged.verdict is Verdict.YES
    assert judged.sentence.startswith("The model as a whole is overconfident: ")


def test_one_that_is_less_sure_than_right_is_not():
    judged = found({"audio": (0.5, 0.9, 1000)})["audio"]
    assert judged.verdict is Verdict.NO
    assert "40.0 points less sure than right" in judged.sentence


def test_the_error_that_chance_makes_is_what_binomial_draws_make():
    import numpy as np

    right = np.random.default_rng(0).binomial(500, 0.7, size=100_000) / 500
    expected = 100 * abs(right - 0.7).mean()
    assert f"would make {expected:.1f};" in found({"audio": (0.7, 0.5, 500)})["audio"].sentence


def test_few_examples_leave_it_open():
    judged = found({"audio": (0.7, 0.5, 10), "joint": (0.7, 0.5, 10)})
    assert judged["audio"].verdict is Verdict.INCONCLUSIVE
    assert judged["audio"].sentence.startswith("Whether audio alone is overconfident is not clear")
    assert judged[""].sentence.startswith("Whether the model as a whole is overconfident is not")
    assert found({"audio": (0.7, 0.5, 1000)})["audio"].verdict is Verdict.YES


@pytest.mark.parametrize("head", [(math.nan, 0.5, 100), (math.nan, math.nan, 0)])
def test_what_is_not_known_is_inconclusive(head):
    judged = found({"audio": head})["audio"]
    assert (judged.verdict, judged.value) == (Verdict.INCONCLUSIVE, None)
    assert judged.sentence.endswith("its expected calibration error is not known.")


@pytest.mark.parametrize("names", [("a", "b", "c"), tuple("abcdef")])
def test_every_modality_is_judged(names):
    judged = found({names[-1]: (0.9, 0.6, 1000)}, names)
    assert list(judged) == [*names, ""]
    assert [name for name, f in judged.items() if f.verdict is Verdict.YES] == [names[-1]]


def test_what_an_unreadable_modality_says_alone_is_not_judged():
    readout = {"kind": "zero_out", "identifiable": {"audio": True, "visual": False}}
    assert list(found({"visual": (0.9, 0.1, 1000)}, readout=readout)) == ["audio", ""]
