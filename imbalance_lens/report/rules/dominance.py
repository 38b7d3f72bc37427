"""Does one modality dominate?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import (
    Quantity,
    alone_and_without,
    left_in,
    lost_by_filling,
    measured,
    modalities,
    number,
    why_lost,
)
from ..words import cost, listed, percent, points, shown
from .gaps import ALONE, LEFT_OUT, Gap, Gaps, claims, witnesses
from .identifiability import hidden
from .left_in import doubted

if TYPE_CHECKING:
    import xarray as xr

RULE = "dominance"
_NEEDED = ("alone", "drop", "confidence_gap", ALONE.variable, LEFT_OUT.variable)
_NOT_CLEAR = "Whether a modality dominates is not clear"
_DISAGREE = f"{_NOT_CLEAR}, for the indicators disagree"


def dominance(tree: xr.DataTree) -> list[Finding]:
    """Judge whether one modality is ahead of every other, in each indicator there is."""
    ds = measured(tree, "zero_out", *_NEEDED)
    if ds is None:
        return []
    unread = hidden(tree)
    names = tuple(name for name in modalities(tree) if name not in unread)
    bound = threshold("dominance_gap")
    judge = _Judge(ds, claims(tree, names, bound), witnesses(tree, names, bound))
    found = judge.finding() if len(names) > 1 else None
    sets = (present for name in names for present in alone_and_without(modalities(tree), name))
    lost = lost_by_filling(tree, *sets) if names else 0
    if lost:
        sentence = (
            f"{_NOT_CLEAR}: {why_lost(tree, lost)}, as where a model divides by their length. Look "
            "with another fill, such as ZeroOut(fill='mean')."
        )
        return [Finding(RULE, Verdict.INCONCLUSIVE, sentence, evidence="zero_out.nonfinite")]
    if found and not unread:
        return [doubted(found, _NOT_CLEAR, left_in(tree))]
    sentence = f"{_NOT_CLEAR}, for what {listed(unread)} says alone cannot be read."
    if found:
        sentence += f" Among the others: {found.sentence}"
    return [Finding(RULE, Verdict.INCONCLUSIVE, sentence, evidence="zero_out.spread")]


@dataclass(frozen=True)
class _Judge:
    """Finds the verdict, and the words for it."""

    ds: xr.Dataset
    gaps: Gaps
    witnesses: Gaps

    def finding(self) -> Finding:
        found = self._by_claims()
        against = self._against() if found.verdict is Verdict.NO else None
        return self._told_against(against) if against else found

    def _by_claims(self) -> Finding:
        unknown = next((gap for gap in self.gaps.all if not gap.size.known), None)
        if unknown:
            return self._unknown(unknown)
        widest = max(self.gaps.all, key=lambda gap: gap.size.high)
        if widest.size.reach <= self.gaps.bound:
            return self._level(widest)
        alone, left_out = map(self.gaps.leader, (ALONE, LEFT_OUT))
        if not alone and not left_out:
            return self._nobody_leads()
        if alone == left_out:
            return self._lead(alone)
        if alone and left_out:
            return self._opposed(alone, left_out)
        return self._half_a_lead(alone, left_out)

    def _lead(self, leader: str) -> Finding:
        others = sorted({*self.gaps.names} - {leader})
        for other in others:
            if not self._confidence_gap(leader, other) > 0:
                return self._less_confident(leader, other)
        for gap in self.witnesses.of(leader):
            if not gap.size.value > 0:
                return self._denied(leader, gap)
        alone, left_out = (self.gaps.smallest_lead(leader, each) for each in (ALONE, LEFT_OUT))
        smallest = min(alone, left_out, key=lambda gap: gap.size.low)
        several = len(others) > 1
        then = f"the next best, {shown(alone.other)}," if several else shown(alone.other)
        agreeing = [each.short for each in self.witnesses.indicators]
        agree = f"{listed(['the true-class confidence', *agreeing])} agree"
        return self._told(
            Verdict.YES,
            f"{shown(leader)} dominates: alone it gets {self._alone(leader)} of the examples "
            f"right, {then} {self._alone(alone.other)}; leaving it out {self._cost(leader)}, "
            f"leaving out {shown(left_out.other)} {self._cost(left_out.other)}. Its "
            f"{'smallest ' if several else ''}lead, {smallest.told}, is above the threshold of "
            f"{self._bound}, and {agree if agreeing else f'{agree}s'}.",
            smallest,
            modality=leader,
        )

    def _level(self, widest: Gap) -> Finding:
        return self._told(
            Verdict.NO,
            f"No modality dominates: {listed(self.gaps.names)} are level, alone and left out. The "
            f"widest difference, {widest.told}, stays within {self._bound}.",
            widest,
        )

    def _nobody_leads(self) -> Finding:
        able = [name for name in sorted(self.gaps.names) if not self.gaps.held_back(name)]
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
        first = max(
            sorted(self.gaps.names), key=lambda name: number(self.ds, "alone", modality=name)
        )
        held = min(self.gaps.of(first), key=lambda gap: gap.size.high)
        far = max(self.gaps.all, key=lambda gap: gap.size.value)
        return self._told(
            Verdict.NO,
            f"No single modality dominates: {shown(first)} gets most examples right alone, but "
            f"{self._lead_in(held)} is not above {self._bound}. The largest difference is "
            f"{far.told}: {shown(far.other)} behind {shown(far.modality)} in "
            f"{far.indicator.words}.",
            held,
        )

    def _half_a_lead(self, alone: str, left_out: str) -> Finding:
        leader = alone or left_out
        sure, unsure = (ALONE, LEFT_OUT) if alone else (LEFT_OUT, ALONE)
        gap = self.gaps.smallest_lead(leader, unsure)
        return self._told(
            Verdict.INCONCLUSIVE,
            f"{_DISAGREE}: {shown(leader)} is ahead of every other modality in {sure.words}, but "
            f"{self._lead_in(gap)} is not surely above the threshold of {self._bound}.",
            gap,
            modality=leader,
        )

    def _opposed(self, alone: str, left_out: str) -> Finding:
        return self._told(
            Verdict.INCONCLUSIVE,
            f"{_DISAGREE}: {shown(alone)} is ahead in {ALONE.words} ({self._alone(alone)}), but "
            f"{shown(left_out)} in {LEFT_OUT.words} ({self._cost(left_out)}).",
            self.gaps.smallest_lead(alone, ALONE),
        )

    def _less_confident(self, leader: str, other: str) -> Finding:
        size = Quantity(self._confidence_gap(leader, other))
        ahead = self._ahead(leader)
        sentence = (
            f"{_DISAGREE}: {ahead}, but gives the true class no more probability than "
            f"{shown(other)} does."
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

    def _denied(self, leader: str, gap: Gap) -> Finding:
        lead = f"its lead over {shown(gap.other)} in {gap.indicator.words}"
        sentence = f"{_DISAGREE}: {self._ahead(leader)}, but {lead}, {gap.told}, is none."
        if math.isnan(gap.size.value):
            sentence = f"{_NOT_CLEAR}: {self._ahead(leader)}, but {lead} is not known."
        return Finding(
            RULE,
            Verdict.INCONCLUSIVE,
            sentence,
            modality=leader,
            threshold=0.0,
            evidence=gap.indicator.evidence,
            **gap.size.as_found(),
        )

    def _against(self) -> Gap | None:
        """Return the lead of a modality that another probe sees surely ahead of every other."""
        leads = ((self.witnesses.leader(each), each) for each in self.witnesses.indicators)
        return next(
            (self.witnesses.smallest_lead(leader, each) for leader, each in leads if leader), None
        )

    def _told_against(self, gap: Gap) -> Finding:
        return self._told(
            Verdict.INCONCLUSIVE,
            f"{_DISAGREE}: by what each modality does alone and left out none is ahead of every "
            f"other, but in {gap.indicator.words} {shown(gap.modality)} is, by {gap.told} over "
            f"{shown(gap.other)}.",
            gap,
            modality=gap.modality,
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
            evidence=gap.indicator.evidence,
            **gap.size.as_found(),
        )

    def _ahead(self, leader: str) -> str:
        return f"{shown(leader)} is ahead in accuracy ({self._alone(leader)} alone)"

    def _confidence_gap(self, one: str, other: str) -> float:
        return number(self.ds, "confidence_gap", modality=one, other=other)

    def _alone(self, name: str) -> str:
        return percent(number(self.ds, "alone", modality=name))

    def _cost(self, name: str) -> str:
        return cost(number(self.ds, "drop", modality=name))

    def _lead_in(self, gap: Gap) -> str:
        return f"its lead over {shown(gap.other)} in {gap.indicator.words}, {gap.told},"

    @property
    def _bound(self) -> str:
        return points(self.gaps.bound)
