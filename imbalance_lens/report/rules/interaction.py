"""Does the fusion combine its modalities, or only add up what each one says?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import Quantity, interval_name, left_in, measured, modalities, quantity
from ..words import cost, cost_span, percent, points, shown, span
from .left_in import doubted

if TYPE_CHECKING:
    import xarray as xr

RULE = "no_interaction"
_CLAIMS = {
    Verdict.YES: "The fusion uses no cross-modal interaction",
    Verdict.NO: "The fusion uses cross-modal interaction",
    Verdict.INCONCLUSIVE: "Whether the fusion uses cross-modal interaction is not clear",
}


def no_interaction(tree: xr.DataTree) -> list[Finding]:
    """Judge whether the accuracy, or without labels the answers, need any interaction."""
    ds = measured(tree, "emap", "gap", "flip_rate")
    if ds is None:
        return []
    names, bound = modalities(tree), threshold("interaction_gap")
    variable = "gap" if ds["gap"].notnull().any() else "flip_rate"
    sizes = {name: quantity(ds, variable, modality=name) for name in sorted(names)}
    name, size = max(sizes.items(), key=lambda item: _sure(item[1]))
    verdict = Verdict.INCONCLUSIVE
    if _sure(size) > bound:
        verdict = Verdict.NO
    elif all(each.known and each.reach <= bound for each in sizes.values()):
        verdict = Verdict.YES
    one = "any one modality" if verdict is Verdict.YES else shown(name)
    taken = "all of it" if len(names) == 2 else f"that of {one} with the others"
    if variable == "gap":
        effect, limits = cost(size.value), cost_span(size.value, size.low, size.high)
    else:
        effect = f"changes {percent(size.value)} of the answers"
        limits = span(size.low, size.high)
    told = f" ({interval_name(ds)} {limits})" if size.known else ""
    sentence = f"{_CLAIMS[verdict]}: taking {taken} out of the logits {effect}{told}."
    if verdict is Verdict.INCONCLUSIVE:
        sentence += f" The threshold is {points(bound)}."
    found = Finding(
        RULE, verdict, sentence, threshold=bound, evidence=f"emap.{variable}", **size.as_found()
    )
    return [doubted(found, _CLAIMS[Verdict.INCONCLUSIVE], left_in(tree))]


def _sure(size: Quantity) -> float:
    """Return how far from zero a number is at the least."""
    return max(size.low, -size.high) if size.known else -math.inf
