"""Is a modality ignored?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import (
    Quantity,
    alone_and_without,
    interval_name,
    left_in,
    lost_by_filling,
    measured,
    modalities,
    number,
    quantity,
    why_lost,
)
from ..words import cost, cost_span, few, percent, points, shown
from .identifiability import hidden
from .left_in import doubted

if TYPE_CHECKING:
    import xarray as xr

RULE = "unused_modality"


def unused_modality(tree: xr.DataTree) -> list[Finding]:
    """Judge for each modality whether the model does without it."""
    ds = measured(tree, "zero_out", "alone", "drop", "effect", "majority")
    if ds is None:
        return []
    unread = hidden(tree)
    names = modalities(tree)
    lost = {name: lost_by_filling(tree, *alone_and_without(names, name)) for name in names}
    return [
        _unknown(tree, name, lost[name]) if lost[name] else _judged(ds, name, name in left_in(tree))
        for name in names
        if name not in unread
    ]


def _unknown(tree: xr.DataTree, name: str, lost: int) -> Finding:
    return Finding(
        RULE,
        Verdict.INCONCLUSIVE,
        f"{_unclear(name)}: {why_lost(tree, lost)}.",
        modality=name,
        evidence="zero_out.nonfinite",
    )


def _unclear(name: str) -> str:
    return f"Whether {shown(name)} is used is not clear"


def _judged(ds: xr.Dataset, name: str, left_in: bool) -> Finding:
    found = _by_numbers(ds, name)
    unused = found.verdict is Verdict.YES
    return doubted(found, _unclear(name), [name] if unused and left_in else [])


def _by_numbers(ds: xr.Dataset, name: str) -> Finding:
    effect = Quantity(number(ds, "effect", modality=name))
    if effect.value < threshold("unused_effect"):
        return Finding(
            RULE,
            Verdict.YES,
            f"{shown(name)} is not used: leaving it out does not move the logits "
            f"({few(effect.value)} times their spread).",
            modality=name,
            threshold=threshold("unused_effect"),
            evidence="zero_out.effect",
            **effect.as_found(),
        )
    alone, drop = (quantity(ds, variable, modality=name) for variable in ("alone", "drop"))
    verdict, what, because = _weighed(name, alone, drop, number(ds, "majority"))
    limits = cost_span(drop.value, drop.low, drop.high)
    size = f" ({interval_name(ds)} {limits})" if drop.known else ""
    return Finding(
        RULE,
        verdict,
        f"{what}: leaving it out {cost(drop.value)}{size}, and alone it gets "
        f"{percent(alone.value)} of the examples right{because}.",
        modality=name,
        threshold=threshold("unused_drop"),
        evidence="zero_out.drop",
        **drop.as_found(),
    )


def _weighed(
    name: str, alone: Quantity, drop: Quantity, majority: float
) -> tuple[Verdict, str, str]:
    bound = threshold("unused_drop")
    chance = f"; always giving the most frequent label gets {percent(majority)}"
    if drop.low > bound or drop.high < -bound:
        return Verdict.NO, f"{shown(name)} is used", ""
    if drop.reach <= bound and alone.low > majority:
        return Verdict.NO, f"{shown(name)} adds nothing to the others, but is not ignored", chance
    if alone.low > majority:
        return Verdict.NO, f"{shown(name)} is used", chance
    if drop.reach <= bound and alone.low <= majority:
        return Verdict.YES, f"{shown(name)} counts for next to nothing", chance
    doubt = f". The cost may be within the threshold of {points(bound)} or not"
    return Verdict.INCONCLUSIVE, _unclear(name), chance + doubt
