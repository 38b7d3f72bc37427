"""Is a modality, or the model, surer than it is right?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ... import schema
from ..findings import Finding, Verdict, threshold
from ..reading import Quantity, measured, modalities, number
from ..words import points, shown, tenths
from .identifiability import hidden

if TYPE_CHECKING:
    import xarray as xr


def overconfident_modality(tree: xr.DataTree) -> list[Finding]:
    """Judge the calibration of each modality's own logits, and of the model's."""
    ds = measured(tree, "calibration", "error", "confidence_gap", "count", "confidence")
    if ds is None:
        return []
    unread = hidden(tree)
    heads = [(name, name) for name in modalities(tree) if name not in unread]
    return [_judged(ds, name, head) for name, head in (*heads, ("", schema.JOINT))]


def _judged(ds: xr.Dataset, name: str, head: str) -> Finding:
    error, excess = (number(ds, variable, head=head) for variable in ("error", "confidence_gap"))
    bound, chance = threshold("calibration_error"), _by_chance(ds, head)
    verdict = Verdict.INCONCLUSIVE
    if excess > 0 and error - chance > bound:
        verdict = Verdict.YES
    elif excess <= 0 or error <= bound:
        verdict = Verdict.NO
    the = "the" if verdict is Verdict.INCONCLUSIVE else "The"
    who = f"{the} model as a whole" if head == schema.JOINT else f"{shown(name)} alone"
    said = "its expected calibration error is not known"
    if not math.isnan(error):
        said = (
            f"on average it is {points(abs(excess))} {'surer' if excess > 0 else 'less sure'} than "
            f"right, with an expected calibration error of {points(error)}, where chance alone "
            f"would make {tenths(chance)}; the threshold is {points(bound)}"
        )
    return Finding(
        "overconfident_modality",
        verdict,
        f"{_CLAIMS[verdict].format(who)}: {said}.",
        modality=name,
        threshold=bound,
        evidence="calibration.error",
        **Quantity(error).as_found(),
    )


_CLAIMS = {
    Verdict.YES: "{} is overconfident",
    Verdict.NO: "{} is not overconfident",
    Verdict.INCONCLUSIVE: "Whether {} is overconfident is not clear",
}


def _by_chance(ds: xr.Dataset, head: str) -> float:
    """Return the error to expect where every bin is as often right as it is sure.

    The mean distance of a binomial share from its probability p is nearly
    sqrt(2 p (1 - p) / (pi n)), with n examples in the bin.
    """
    bins = ds[["count", "confidence"]].sel(head=head)
    count, sure = bins["count"], bins["confidence"]
    distances = (2 * count * sure * (1 - sure) / math.pi) ** 0.5  # each times the bin's examples
    examples = float(count.sum())
    return float(distances.sum()) / examples if examples else math.nan
