"""How far each modality is ahead of each other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..reading import Quantity, quantity

if TYPE_CHECKING:
    import xarray as xr

INDICATORS = {"alone": "alone_gap", "left out": "drop_gap"}
"""What is compared: the accuracy of one modality alone, and the accuracy lost without it."""


class Gap(NamedTuple):
    """By how much one modality exceeds another in one indicator."""

    indicator: str
    modality: str
    other: str
    size: Quantity

    @property
    def evidence(self) -> str:
        """Where the number stands."""
        return f"zero_out.{INDICATORS[self.indicator]}"


class Gaps:
    """Every gap between some modalities, in each indicator.

    Args:
        ds: what the probe zero_out answered.
        names: the modalities to compare, two or more.
        bound: one is surely ahead when the whole interval lies above this, and two are level
            when it lies within.
    """

    def __init__(self, ds: xr.Dataset, names: Sequence[str], bound: float) -> None:
        self.names = tuple(names)
        self.bound = bound
        self.all = tuple(
            Gap(indicator, one, other, quantity(ds, variable, modality=one, other=other))
            for indicator, variable in INDICATORS.items()
            for one in names
            for other in names
            if one != other
        )

    def of(self, one: str, *indicators: str) -> list[Gap]:
        """Return the gaps of one modality over the others, in all indicators if none is named."""
        wanted = indicators or tuple(INDICATORS)
        return [gap for gap in self.all if gap.modality == one and gap.indicator in wanted]

    def smallest_lead(self, one: str, *indicators: str) -> Gap:
        """Return the gap over the modality that comes closest to this one."""
        return min(self.of(one, *indicators), key=lambda gap: gap.size.low)

    def leader(self, indicator: str) -> str:
        """Return the modality that is surely ahead of every other, or ""."""
        leads = (self.smallest_lead(one, indicator) for one in self.names)
        return next((lead.modality for lead in leads if lead.size.low > self.bound), "")

    def held_back(self, one: str) -> Gap | None:
        """Return the gap that keeps a modality from dominating for sure, if there is one."""
        least = min(self.of(one), key=lambda gap: gap.size.high)
        return least if least.size.high <= self.bound else None
