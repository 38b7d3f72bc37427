"""Does "alone" mean anything for this head?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import (
    Quantity,
    lost_by_filling,
    measured,
    modalities,
    number,
    root,
    settings,
    why_lost,
)
from ..words import few, filled, listed, one_line, shown

if TYPE_CHECKING:
    import xarray as xr

RULE = "not_identifiable"


def not_identifiable(tree: xr.DataTree) -> list[Finding]:
    """Name the modalities whose own score is a constant, though the model does use them."""
    found = {f.modality: f for f in (*_by_readout(tree), *_constant_alone(tree))}
    if found or measured(tree, "zero_out", "spread", "effect") is None:
        return [found[name] for name in modalities(tree) if name in found]
    lost = lost_by_filling(tree, *({name} for name in modalities(tree)))
    if lost:
        why = why_lost(tree, lost)
        sentence = f"Whether what each modality says alone can be read is not clear: {why}."
        return [Finding(RULE, Verdict.INCONCLUSIVE, sentence, evidence="zero_out.nonfinite")]
    sentence = "What each modality says alone differs from example to example."
    return [Finding(RULE, Verdict.NO, sentence, evidence="zero_out.spread")]


def hidden(tree: xr.DataTree) -> tuple[str, ...]:
    """Return the modalities that are not identifiable."""
    return tuple(f.modality for f in not_identifiable(tree) if f.verdict is Verdict.YES)


def _constant_alone(tree: xr.DataTree) -> list[Finding]:
    ds = measured(tree, "zero_out", "spread", "effect")
    if ds is None:
        return []
    found = []
    for name in modalities(tree):
        spread = number(ds, "spread", modality=name)
        effect = number(ds, "effect", modality=name)
        if not (spread < threshold("constant_spread") and effect >= threshold("unused_effect")):
            continue
        others = listed(other for other in modalities(tree) if other != name)
        sentence = (
            f"What {shown(name)} says alone cannot be read: with the features of {others} "
            f"{filled(settings(ds).get('fill', 'zero'))}, the logits are the same for every "
            f"example, yet leaving {shown(name)} out moves them by {few(effect)} times their "
            "spread. This head does not take such features as absent."
        )
        found.append(
            Finding(
                RULE,
                Verdict.YES,
                sentence,
                modality=name,
                threshold=threshold("constant_spread"),
                evidence="zero_out.spread",
                **Quantity(spread).as_found(),
            )
        )
    return found


def _by_readout(tree: xr.DataTree) -> list[Finding]:
    readout = root(tree, "readout")
    because = f" ({one_line(readout['reason'])})" if readout.get("reason") else ""
    return [
        Finding(
            RULE,
            Verdict.YES,
            f"{shown(name)} has no logits of its own in this model{because}: those that are read "
            "from the joint head are the same for every example.",
            modality=name,
            evidence="readout.identifiable",
        )
        for name, identifiable in readout.get("identifiable", {}).items()
        if not identifiable
    ]
