"""Models that zero features turn into NaN: nothing is known, and the report says so."""

import math
import re

import pytest
import torch
from torch import Tensor

import imbalance_lens as lens
from imbalance_lens.probes.zero_out import ZeroOut
from imbalance_lens.report import Verdict

from ..test_unseen_models import WHO, Late, data
from .planted import report, zero_out
from .planted_more import shapley

ALONE = {"audio": 0.8, "visual": 0.3}
RULES = ("dominance", "unused_modality", "underused_encoder", "not_identifiable")


class UnitLength(Late):
    """Divides features by their length, without a number in the divisor to save it from zero."""

    def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
        audio, visual = (x / x.norm(dim=1, keepdim=True) for x in (audio, visual))
        return super().fuse(audio, visual)


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    return lens.diagnose(UnitLength(), data(16), WHO, ["zero_out", "linear_probe"])


def test_nothing_is_concluded_from_logits_that_the_fill_has_made_nan(made) -> None:
    judged = {(f.rule, f.modality): f for f in made.findings if f.rule in RULES}
    assert len(judged) == 6
    assert {finding.verdict for finding in judged.values()} == {Verdict.INCONCLUSIVE}
    for finding in judged.values():
        assert "no longer finite" in finding.sentence or "not finite" in finding.sentence
    assert judged["dominance", ""].evidence == "zero_out.nonfinite"
    assert "the logits of 128 of 128 examples are no longer finite" in made.findings[0].sentence


def test_the_table_shows_a_dash_for_what_is_not_known(made) -> None:
    lines = str(made).split("\n\n")[2].splitlines()
    cells = dict(zip(lines[0].split(), re.split(r"\s{2,}", lines[1])[1:], strict=True))
    assert (cells["alone"], cells["conf."]) == ("-", "-")
    assert "%" in cells["linear"]
    assert "-: not known" in " ".join(lines)


def test_another_fill_gives_the_verdict_back() -> None:
    report = lens.diagnose(UnitLength(), data(16), WHO, [ZeroOut(fill="mean")])
    assert "finite" not in report.findings[0].sentence


def test_only_what_the_fill_has_spoiled_is_unknown() -> None:
    ds = zero_out(ALONE, nonfinite={"visual": 7})
    shares = shapley({"correct": {"audio": 0.5, "visual": 0.3}})
    made = report(zero_out=ds, shapley=shares)
    row = made.to_dataframe()
    unused = {f.modality: f for f in made.findings if f.rule == "unused_modality"}

    assert "the logits of 7 of 500 examples" in made.findings[0].sentence
    assert math.isnan(row.loc["visual", "alone"])
    assert math.isnan(row.loc["audio", "drop"])
    assert row.loc["audio", "alone"] == 0.8
    # Either is judged by itself alone and by what is left without it: the other one alone.
    assert {f.verdict for f in unused.values()} == {Verdict.INCONCLUSIVE}


def test_examples_that_are_not_finite_by_themselves_are_no_fault_of_the_fill() -> None:
    spoiled: dict[str, int] = dict.fromkeys(("audio", "visual", "audio+visual"), 7)
    made = report(zero_out=zero_out(ALONE, nonfinite=spoiled))
    assert (made.findings[0].rule, made.findings[0].verdict) == ("dominance", Verdict.YES)
