"""Does one modality pay more overfitting for what it learns than the others?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..findings import Finding, Verdict, threshold
from ..reading import Quantity, answered, modalities, number
from ..words import few, listed, shown
from .identifiability import hidden

if TYPE_CHECKING:
    import xarray as xr

RULE = "overfitting_modality"
_TERMS = ("total_delta_overfit", "total_delta_general", "total_ogr")


class _Price(NamedTuple):
    """What a modality's training cost and gained, from the first state to the last."""

    name: str
    overfit: float
    general: float
    ratio: float

    @property
    def height(self) -> float:
        """The ratio, 0 where nothing was overfitted."""
        return 0.0 if self.overfit <= 0 else self.ratio

    @property
    def told(self) -> str:
        return (
            f"overfitting {self.overfit:+.3g} nat, gain {self.general:+.3g} nat, ratio "
            f"{few(self.ratio)}"
        )


def overfitting_modality(tree: xr.DataTree) -> list[Finding]:
    """Judge whether one modality's overfitting-to-generalization ratio stands out."""
    ds = answered(tree, "ogr", *_TERMS)
    unread = hidden(tree)
    names = [name for name in modalities(tree) if name not in unread]
    if ds is None or len(names) < 2:
        return []
    prices = [_Price(name, *(number(ds, term, head=name) for term in _TERMS)) for name in names]
    unknown = [price.name for price in prices if math.isnan(price.height)]
    since = f"from the first to the last of {ds.sizes['epoch']} states of the model"
    if unknown:
        sentence = (
            f"What {listed(unknown)} paid in overfitting is not known: {since}, the held-out loss "
            "did not change, or is no number."
        )
        return [_told(Verdict.INCONCLUSIVE, sentence)]
    first, second, *_ = sorted(prices, key=lambda price: -price.height)
    bound, least = threshold("overfit_ratio"), threshold("overfit_least")
    compared = f"{since}, {shown(first.name)} has {first.told}; {shown(second.name)} {second.told}"
    times = first.height / second.height if second.height else math.inf
    if first.height < least:
        return [_told(Verdict.NO, f"No modality overfits to speak of: {compared}.")]
    if not times > bound:
        sentence = f"No modality overfits far more than every other: {compared}."
        return [_told(Verdict.NO, sentence, times)]
    sentence = (
        f"{shown(first.name)} overfits most: {compared}. The threshold is a ratio {few(bound)} "
        "times as high as any other's."
    )
    return [_told(Verdict.YES, sentence, times, first.name)]


def _told(verdict: Verdict, sentence: str, times: float = math.nan, modality: str = "") -> Finding:
    return Finding(
        RULE,
        verdict,
        sentence,
        modality=modality,
        threshold=threshold("overfit_ratio"),
        evidence="ogr.total_ogr",
        **Quantity(times).as_found(),
    )
