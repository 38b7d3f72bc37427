"""How far each modality is ahead of each other one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..reading import Quantity, interval_name, measured, pairs

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Indicator:
    """Something in which modalities can be compared.

    Attributes:
        words: what it is, in a sentence.
        short: what it is, in a list.
        probe: which probe answers it.
        variable: the gap, over modality and other.
        value: the coordinate of that name to look at, if the gap has it.
    """

    words: str
    short: str
    probe: str
    variable: str
    value: str = ""

    @property
    def evidence(self) -> str:
        """Where the number stands."""
        return f"{self.probe}.{self.variable}"

    @property
    def at(self) -> dict[str, str]:
        """Where to look in the dimensions that are not modalities."""
        return {"value": self.value} if self.value else {}

    def answer(self, tree: xr.DataTree) -> xr.Dataset | None:
        """Return what was measured."""
        ds = measured(tree, self.probe, self.variable)
        if ds is None or not self.value:
            return ds
        return ds if self.value in ds["value"].values else None


ALONE = Indicator("accuracy alone", "alone", "zero_out", "alone_gap")
LEFT_OUT = Indicator("accuracy lost when left out", "left out", "zero_out", "drop_gap")
_EXCHANGED = Indicator(
    "accuracy lost when exchanged between examples", "permutation", "permutation", "drop_gap"
)
_SHARES = tuple(
    Indicator(f"Shapley share of the {of}", "Shapley values", "shapley", "contribution_gap", value)
    for of, value in (("accuracy", "correct"), ("true-class confidence", "confidence"))
)
"""The first one that was measured counts; accuracy is what the other indicators speak of."""


class Gap(NamedTuple):
    """By how much one modality exceeds another in one indicator."""

    indicator: Indicator
    modality: str
    other: str
    size: Quantity
    interval: str

    @property
    def told(self) -> str:
        """The number in words."""
        return self.size.in_points(self.interval)


class Gaps:
    """Every gap between some modalities, in some indicators.

    Args:
        gaps: all of them.
        names: the modalities to compare, two or more.
        bound: one is surely ahead when the whole interval lies above this, and two are level
            when it lies within.
    """

    def __init__(self, gaps: Iterable[Gap], names: Sequence[str], bound: float) -> None:
        self.all = tuple(gaps)
        self.names = tuple(names)
        self.bound = bound

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """What was measured."""
        return tuple(dict.fromkeys(gap.indicator for gap in self.all))

    def of(self, one: str, *indicators: Indicator) -> list[Gap]:
        """Return the gaps of one modality over the others, in all indicators if none is named."""
        wanted = indicators or self.indicators
        return [gap for gap in self.all if gap.modality == one and gap.indicator in wanted]

    def smallest_lead(self, one: str, *indicators: Indicator) -> Gap:
        """Return the gap over the modality that comes closest to this one."""
        return min(self.of(one, *indicators), key=lambda gap: gap.size.low)

    def leader(self, indicator: Indicator) -> str:
        """Return the modality that is surely ahead of every other, or ""."""
        return next(
            (
                one
                for one in self.names
                if all(gap.size.low > self.bound for gap in self.of(one, indicator))
            ),
            "",
        )

    def held_back(self, one: str) -> Gap | None:
        """Return the gap that keeps a modality from dominating for sure, if there is one."""
        least = min(self.of(one), key=lambda gap: gap.size.high)
        return least if least.size.high <= self.bound else None


def claims(tree: xr.DataTree, names: Sequence[str], bound: float) -> Gaps:
    """Return the gaps on which a verdict on dominance rests."""
    return Gaps(_read(tree, (ALONE, LEFT_OUT), names), names, bound)


def witnesses(tree: xr.DataTree, names: Sequence[str], bound: float) -> Gaps:
    """Return the gaps of other probes, which may speak against it.

    A probe that knows no gap at all, as one without labels, is no witness.
    """
    shares = [indicator for indicator in _SHARES if indicator.answer(tree) is not None]
    gaps = _read(tree, [_EXCHANGED, *shares[:1]], names)
    known = {gap.indicator for gap in gaps if not math.isnan(gap.size.value)}
    return Gaps((gap for gap in gaps if gap.indicator in known), names, bound)


def _read(tree: xr.DataTree, indicators: Iterable[Indicator], names: Sequence[str]) -> list[Gap]:
    """Return the gaps of each indicator by name, so that of equal ones the same is always taken."""
    return [
        Gap(indicator, one, other, size, interval_name(ds))
        for indicator in indicators
        if (ds := indicator.answer(tree)) is not None
        for (one, other), size in pairs(
            ds, indicator.variable, sorted(names), **indicator.at
        ).items()
    ]
