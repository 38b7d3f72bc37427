import math

import pytest

from imbalance_lens.report import Verdict

from .planted import report
from .planted_more import emap

TWO = ("audio", "visual")


def judged(gap, names=TWO, **more):
    gaps = gap if isinstance(gap, dict) else dict.fromkeys(names, gap)
    (found,) = [
        f for f in report(names, emap=emap(gaps, **more)).findings if f.rule == "no_interaction"
    ]
    return found


def test_answers_that_are_as_right_without_it_need_no_interaction():
    found = judged(0.002)
    assert (found.verdict, found.modality) == (Verdict.YES, "")
    assert found.value == pytest.approx(0.002)
    assert found.interval == pytest.approx((-0.003, 0.007))
    assert (found.threshold, found.evidence) == (0.01, "emap.gap")
    assert found.sentence == (
        "The fusion uses no cross-modal interaction: taking all of it out of the logits costs 0.2 "
        "points (95 % interval -0.3 to 0.7)."
    )


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (0.3, "costs 30.0 points (95 % interval 29.5 to 30.5)"),
        (-0.3, "gains 30.0 points (95 % interval 29.5 to 30.5)"),
    ],
)
def test_interaction_that_helps_or_harms_is_used(gap, words):
    found = judged(gap)
    assert found.verdict is Verdict.NO
    assert found.sentence.startswith("The fusion uses cross-modal interaction: taking all of it")
    assert words in found.sentence


@pytest.mark.parametrize(
    "given", [{"gap": 0.012}, {"gap": 0.0, "width": 0.02}, {"gap": 0.3, "examples": 5}]
)
def test_an_interval_across_the_threshold_or_none_is_inconclusive(given):
    found = judged(**given)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.sentence.endswith(" The threshold is 1.0 points.")


@pytest.mark.parametrize("names", [("a", "b", "c"), tuple("abcdef")])
def test_among_many_the_modality_that_interacts_most_is_named(names):
    gaps = {name: 0.2 if name == "b" else 0.0 for name in names}
    found = judged(gaps, names)
    assert found.verdict is Verdict.NO
    assert "taking that of b with the others out of the logits costs 20.0" in found.sentence
    found = judged(0.0, names)
    assert found.verdict is Verdict.YES
    assert "taking that of any one modality with the others out" in found.sentence


def test_one_that_is_not_known_leaves_it_open_unless_another_interacts():
    names = ("a", "b", "c")
    assert judged({"a": 0.0, "b": math.nan, "c": 0.0}, names).verdict is Verdict.INCONCLUSIVE
    assert judged({"a": 0.2, "b": math.nan, "c": 0.0}, names).verdict is Verdict.NO


@pytest.mark.parametrize(
    ("flips", "verdict"), [(0.002, "yes"), (0.1, "no"), (0.01, "inconclusive")]
)
def test_without_labels_the_answers_that_change_decide(flips, verdict):
    found = judged(math.nan, flips=dict.fromkeys(TWO, flips))
    assert (found.verdict, found.evidence) == (verdict, "emap.flip_rate")
    assert f"out of the logits changes {100 * flips:.1f} % of the answers" in found.sentence
