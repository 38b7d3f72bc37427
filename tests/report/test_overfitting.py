import math

import pytest

from imbalance_lens.report import Verdict

from .planted import report
from .planted_more import ogr

TWO = ("audio", "visual")


def judged(terms, names=TWO, *, states=2, **more):
    ds = ogr({**terms, "joint": (1.4, 3.8)}, states=states)
    (found,) = [
        f for f in report(names, ogr=ds, **more).findings if f.rule == "overfitting_modality"
    ]
    return found


def test_the_modality_that_pays_most_for_what_it_learns_is_named():
    found = judged({"audio": (3.5, 1.5), "visual": (0.5, 4.0)}, states=5)
    assert (found.verdict, found.modality) == (Verdict.YES, "audio")
    assert found.value == pytest.approx(2.333333 / 0.125, rel=1e-4)
    assert (found.threshold, found.evidence) == (2.0, "ogr.total_ogr")
    assert found.sentence == (
        "audio overfits most: from the first to the last of 5 states of the model, audio has "
        "overfitting +3.5 nat, gain +1.5 nat, ratio 2.33; visual overfitting +0.5 nat, gain +4 "
        "nat, ratio 0.125. The threshold is a ratio 2 times as high as any other's."
    )


def test_a_modality_that_got_worse_has_its_loss_told_with_its_sign():
    found = judged({"audio": (1.0, -0.5), "visual": (0.1, 1.0)})
    assert (found.verdict, found.modality) == (Verdict.YES, "audio")
    assert "audio has overfitting +1 nat, gain -0.5 nat, ratio 2" in found.sentence


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"audio": (1.5, 1.0), "visual": (1.0, 1.0)}, "No modality overfits far more than every"),
        ({"audio": (-3.0, 1.0), "visual": (0.0, 1.0)}, "No modality overfits to speak of"),
        ({"audio": (0.05, 1.0), "visual": (0.0, 1.0)}, "No modality overfits to speak of"),
    ],
    ids=["alike", "shrinking gap", "hardly"],
)
def test_prices_that_are_alike_or_next_to_nothing_are_no_finding(terms, words):
    found = judged(terms)
    assert (found.verdict, found.modality) == (Verdict.NO, "")
    assert found.sentence.startswith(words)


def test_a_shrinking_gap_is_no_overfitting_however_high_its_ratio():
    found = judged({"audio": (-5.0, 0.1), "visual": (0.5, 1.0)})
    assert (found.verdict, found.modality) == (Verdict.YES, "visual")
    assert found.value is None


@pytest.mark.parametrize("terms", [(1.0, 0.0), (math.nan, 1.0), (math.nan, math.nan)])
def test_a_price_that_is_not_known_is_inconclusive(terms):
    found = judged({"audio": terms, "visual": (0.5, 1.0)})
    assert (found.verdict, found.value) == (Verdict.INCONCLUSIVE, None)
    assert found.sentence.startswith("What audio paid in overfitting is not known: ")


def test_a_loss_that_did_not_change_is_no_overfitting():
    assert judged({"audio": (0.0, 0.0), "visual": (0.5, 1.0)}).modality == "visual"


@pytest.mark.parametrize("names", [("a", "b", "c"), tuple("abcdef")])
def test_it_is_found_among_any_number_of_modalities(names):
    terms = {name: (2.0 if name == names[-1] else 0.5, 1.0) for name in names}
    assert judged(terms, names).modality == names[-1]
    assert judged(dict.fromkeys(names, (0.5, 1.0)), names).verdict is Verdict.NO


def test_what_cannot_be_read_is_not_compared():
    readout = {"kind": "zero_out", "identifiable": {"audio": False, "visual": True}}
    ds = ogr({"audio": (3.5, 1.5), "visual": (0.5, 4.0), "joint": (1.0, 1.0)})
    rules = [f.rule for f in report(ogr=ds, readout=readout).findings]
    assert "overfitting_modality" not in rules
