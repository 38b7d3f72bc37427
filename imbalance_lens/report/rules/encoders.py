"""How much does each encoder know, and how much of that does the model use?

Both may be too little where no modality dominates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import (
    Quantity,
    interval_name,
    measured,
    modalities,
    number,
    quantity,
    unimodal_accuracy,
)
from ..words import count, percent, points, shown
from .identifiability import hidden

if TYPE_CHECKING:
    import xarray as xr


def underused_encoder(tree: xr.DataTree) -> list[Finding]:
    """Judge whether the features of a modality say more than the model reads from them."""
    ds = measured(tree, "linear_probe", "gap", "accuracy", "own_accuracy", "nonfinite", "majority")
    if ds is None:
        return []
    unread = hidden(tree)
    return [_underused(ds, name) for name in modalities(tree) if name not in unread]


def _underused(ds: xr.Dataset, name: str) -> Finding:
    own, majority = number(ds, "own_accuracy", head=name), number(ds, "majority")
    shortfall = _Shortfall(
        "underused_encoder",
        "under-used",
        quantity(ds, "gap", head=name),
        threshold("underused_gap"),
        f"its own logits in the model {percent(own)}",
        "linear_probe.gap",
    )
    ignored = (
        f" The head ignores it: always giving the most frequent label gets {percent(majority)}."
        if own <= majority
        else ""
    )
    return shortfall.finding(ds, name, if_found=ignored)


def undertrained_encoder(tree: xr.DataTree) -> list[Finding]:
    """Judge whether a modality's features say less than a model of this modality alone knows."""
    ds = measured(tree, "linear_probe", "accuracy", "nonfinite")
    if ds is None:
        return []
    alone = unimodal_accuracy(tree)
    return [_undertrained(ds, name, alone[name]) for name in modalities(tree) if name in alone]


def _undertrained(ds: xr.Dataset, name: str, alone: float) -> Finding:
    read = quantity(ds, "accuracy", head=name)
    shortfall = _Shortfall(
        "undertrained_encoder",
        "under-trained",
        Quantity(alone - read.value, alone - read.high, alone - read.low),
        threshold("undertrained_gap"),
        f"a model of {shown(name)} alone {percent(alone)}",
        "linear_probe.accuracy",
    )
    return shortfall.finding(ds, name)


@dataclass(frozen=True)
class _Shortfall:
    """What an encoder falls short by, and what that would make of it."""

    rule: str
    state: str
    size: Quantity
    bound: float
    compared: str
    evidence: str

    def finding(self, ds: xr.Dataset, name: str, *, if_found: str = "") -> Finding:
        verdict = Verdict.INCONCLUSIVE
        unknown = number(ds, "nonfinite", head=name)
        if unknown == 0 and self.size.low > self.bound:
            verdict = Verdict.YES
        if unknown == 0 and self.size.high <= self.bound:
            verdict = Verdict.NO
        size = self.size.in_points(interval_name(ds))
        sentence = (
            f"{_CLAIMS[verdict].format(name=shown(name), state=self.state)}: a linear classifier "
            f"gets {percent(number(ds, 'accuracy', head=name))} from its features, "
            f"{self.compared}. The difference, {size}, "
            f"{_COMPARED[verdict].format(points(self.bound))}."
        )
        if unknown > 0:
            sentence += f" Of {count(int(unknown), 'example')} the numbers are not finite."
        return Finding(
            self.rule,
            verdict,
            sentence + (if_found if verdict is Verdict.YES else ""),
            modality=name,
            threshold=self.bound,
            evidence=self.evidence,
            **self.size.as_found(),
        )


_CLAIMS = {
    Verdict.YES: "The encoder of {name} is {state}",
    Verdict.NO: "The encoder of {name} is not {state}",
    Verdict.INCONCLUSIVE: "Whether the encoder of {name} is {state} is not clear",
}
_COMPARED = {
    Verdict.YES: "is above the threshold of {}",
    Verdict.NO: "is not above the threshold of {}",
    Verdict.INCONCLUSIVE: "may be above the threshold of {} or not",
}
