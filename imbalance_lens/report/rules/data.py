"""Are the data and the logits fit to judge by?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import measured, modalities
from ..words import count, shown

if TYPE_CHECKING:
    import xarray as xr

_SHOWN = 3


def few_examples(tree: xr.DataTree) -> list[Finding]:
    """Warn where there are so few examples that the intervals are wide."""
    examples, bound = tree.attrs["examples"], threshold("few_examples")
    enough = examples >= bound
    seen = f"The model was shown {count(examples, 'example')}"
    least = threshold("interval_examples")
    if enough:
        sentence = f"{seen}."
    elif examples < least:
        sentence = (
            f"{seen}, fewer than {least:.0f}: too few for any verdict that rests on accuracy."
        )
    else:
        sentence = f"{seen}, fewer than {bound:.0f}: the intervals are wide."
    return [
        Finding(
            "few_examples",
            Verdict.NO if enough else Verdict.YES,
            sentence,
            value=float(examples),
            threshold=bound,
            evidence="examples",
        )
    ]


def nonfinite_logits(tree: xr.DataTree) -> list[Finding]:
    """Count the examples whose logits are NaN or infinite, per set of present modalities."""
    ds = measured(tree, "zero_out", "nonfinite")
    if ds is None:
        return []
    everyone = "+".join(modalities(tree))
    counts = {str(c): math.ceil(n) for c, n in ds["nonfinite"].to_series().items()}
    wrong = sorted(
        ((n, name) for name, n in counts.items() if n), key=lambda item: (-item[0], item[1])
    )
    named = [f"{n:,} with {_described(name, everyone)}" for n, name in wrong[:_SHOWN]]
    if len(wrong) > _SHOWN:
        named.append(f"and so on for {len(wrong) - _SHOWN} more sets")
    sentence = (
        "Logits are not finite, so their examples count as wrong: "
        f"{', '.join(named)}, of {count(ds.attrs['examples'], 'example')}."
        if wrong
        else "All logits are finite."
    )
    return [
        Finding(
            "nonfinite_logits",
            Verdict.YES if wrong else Verdict.NO,
            sentence,
            value=float(max(counts.values())),
            threshold=0.0,
            evidence="zero_out.nonfinite",
        )
    ]


def _described(coalition: str, everyone: str) -> str:
    if coalition == everyone:
        return "all modalities"
    return f"{shown(coalition)} only" if coalition else "no modality"
