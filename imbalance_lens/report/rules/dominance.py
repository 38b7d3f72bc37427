"""Does one modality dominate?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import Quantity, interval_name, measured, modalities, number
from ..words import cost, listed, percent, points, shown, span
from .gaps import INDICATORS, Gap, Gaps
from .identifiability import hidden

if TYPE_CHECKING:
    import xarray as xr

RULE = "dominance"
_NEEDED = ("alone", "drop", "confidence_gap", *INDICATORS.values())
_NOT_CLEAR = "Whether a modality dominates is not clear"
_READ = {"alone": "accuracy alone", "left out": "accuracy lost when left out"}


def dominance(tree: xr.DataTree) -> list[Finding]:
    """Judge whether one modality is ahead of every other: alone, left out and in confidence."""
    ds = measured(tree, "zero_out", *_NEEDED)
    if ds is None:
        return []
    unread = hidden(tree)
    names = tuple(name for name in modalities(tree) if name not in unread)
    gaps = Gaps(ds, names, threshold("dominance_gap"))
    found = _Judge(ds, gaps).finding() if len(names) > 1 else None
    if found and not unread:
        return [found]
    sentence = f"{_NOT_CLEAR}, for what {listed(unread)} says alone cannot be read."
    if found:
        sentence += f" Among the others: {found.sentence}"
    return [Finding(RULE, Verdict.INCONCLUSIVE, sentence, evidence="zero_out.spread")]


@dataclass(frozen=True)
class _Judge:
    """Finds the verdict, and the words for it."""

    ds: xr.Dataset
    gaps: Gaps

    def finding(self) -> Finding:
        unknown = next((gap for gap in self.gaps.all if not gap.size.known), None)
        if unknown:
            return self._unknown(unknown)
        widest = max(self.gaps.all, key=lambda gap: gap.size.high)
        if widest.size.reach <= self.gaps.bound:
            return self._level(widest)
        alone, left_out = map(self.gaps.leader, INDICATORS)
        if not alone and not left_out:
            return self._nobody_leads()
        if alone == left_out:
            return self._lead(alone)
        if alone and left_out:
            return self._opposed(alone, left_out)
        return self._half_a_lead(alone, left_out)

    def _lead(self, leader: str) -> Finding:
        others = [name for name in self.gaps.names if name != leader]
        for other in others:
            if not self._confidence_gap(leader, other) > 0:
                return self._less_confident(leader, other)
        alone, left_out = (self.gaps.smallest_lead(leader, each) for each in INDICATORS)
        smallest = min(alone, left_out, key=lambda gap: gap.size.low)
        several = len(others) > 1
        then = f"the next best, {shown(alone.other)}," if several else shown(alone.other)
        return self._told(
            Verdict.YES,
            f"{shown(leader)} dominates: alone it gets {self._alone(leader)} of the examples "
            f"right, {then} {self._alone(alone.other)}; leaving it out {self._cost(leader)}, "
            f"leaving out {shown(left_out.other)} {self._cost(left_out.other)}. Its "
            f"{'smallest ' if several else ''}lead, {self._size(smallest)}, is above the "
            f"threshold of {self._bound}, and the true-class confidence agrees.",
            smallest,
            modality=leader,
        )

    def _level(self, widest: Gap) -> Finding:
        return self._told(
            Verdict.NO,
            f"No modality dominates: {listed(self.gaps.names)} are level, alone and left out. The "
            f"widest difference, {self._size(widest)}, stays within {self._bound}.",
            widest,
        )

    def _nobody_leads(self) -> Finding:
        able = [name for name in self.gaps.names if not self.gaps.held_back(name)]
        if not able:
            return self._no_single_one()
        leads = map(self.gaps.smallest_lead, able)
        best = max(leads, key=lambda gap: gap.size.low)
        return self._told(
            Verdict.INCONCLUSIVE,
            f"{_NOT_CLEAR}: {shown(best.modality)} comes closest to it, but {self._lead_in(best)} "
            f"may be above the threshold of {self._bound} or not. More examples make the interval "
            "narrower.",
            best,
        )

    def _no_single_one(self) -> Finding:
        first = max(self.gaps.names, key=lambda name: number(self.ds, "alone", modality=name))
        held = min(self.gaps.of(first), key=lambda gap: gap.size.high)
        far = max(self.gaps.all, key=lambda gap: gap.size.value)
        return self._told(
            Verdict.NO,
            f"No single modality dominates: {shown(first)} gets most examples right alone, but "
            f"{self._lead_in(held)} is not above {self._bound}. The largest difference is "
            f"{self._size(far)}: {shown(far.other)} behind {shown(far.modality)} in "
            f"{_READ[far.indicator]}.",
            held,
        )

    def _half_a_lead(self, alone: str, left_out: str) -> Finding:
        leader = alone or left_out
        sure, unsure = INDICATORS if alone else reversed(INDICATORS)
        gap = self.gaps.smallest_lead(leader, unsure)
        return self._told(
            Verdict.INCONCLUSIVE,
            f"{_NOT_CLEAR}, for the indicators disagree: {shown(leader)} is ahead of every other "
            f"modality in {_READ[sure]}, but {self._lead_in(gap)} is not surely above the "
            f"threshold of {self._bound}.",
            gap,
            modality=leader,
        )

    def _opposed(self, alone: str, left_out: str) -> Finding:
        return self._told(
            Verdict.INCONCLUSIVE,
            f"{_NOT_CLEAR}, for the indicators disagree: {shown(alone)} is ahead in "
            f"{_READ['alone']} ({self._alone(alone)}), but {shown(left_out)} in "
            f"{_READ['left out']} ({self._cost(left_out)}).",
            self.gaps.smallest_lead(alone, "alone"),
        )

    def _less_confident(self, leader: str, other: str) -> Finding:
        size = Quantity(self._confidence_gap(leader, other))
        ahead = f"{shown(leader)} is ahead in accuracy ({self._alone(leader)} alone)"
        sentence = (
            f"{_NOT_CLEAR}, for the indicators disagree: {ahead}, but gives the true class no more "
            f"probability than {shown(other)} does."
        )
        if math.isnan(size.value):
            sentence = (
                f"{_NOT_CLEAR}: {ahead}, but how its true-class confidence compares with that of "
                f"{shown(other)} is not known."
            )
        return Finding(
            RULE,
            Verdict.INCONCLUSIVE,
            sentence,
            modality=leader,
            threshold=0.0,
            evidence="zero_out.confidence_gap",
            **size.as_found(),
        )

    def _unknown(self, gap: Gap) -> Finding:
        pair = f"{shown(gap.modality)} and {shown(gap.other)}"
        sentence = f"{_NOT_CLEAR}: the difference between {pair} is not known."
        if not math.isnan(gap.size.value):
            sentence = (
                f"{_NOT_CLEAR}: {pair} differ by {points(abs(gap.size.value))}, but there is no "
                f"interval to judge by, which takes {threshold('interval_examples'):.0f} examples."
            )
        return self._told(Verdict.INCONCLUSIVE, sentence, gap)

    def _told(self, verdict: Verdict, sentence: str, gap: Gap, modality: str = "") -> Finding:
        return Finding(
            RULE,
            verdict,
            sentence,
            modality=modality,
            threshold=self.gaps.bound,
            evidence=gap.evidence,
            **gap.size.as_found(),
        )

    def _confidence_gap(self, one: str, other: str) -> float:
        return number(self.ds, "confidence_gap", modality=one, other=other)

    def _alone(self, name: str) -> str:
        return percent(number(self.ds, "alone", modality=name))

    def _cost(self, name: str) -> str:
        return cost(number(self.ds, "drop", modality=name))

    def _size(self, gap: Gap) -> str:
        size = gap.size
        return f"{points(size.value)} ({interval_name(self.ds)} {span(size.low, size.high)})"

    def _lead_in(self, gap: Gap) -> str:
        what = f"its lead over {shown(gap.other)} in {_READ[gap.indicator]}"
        return f"{what}, {self._size(gap)},"

    @property
    def _bound(self) -> str:
        return points(self.gaps.bound)
