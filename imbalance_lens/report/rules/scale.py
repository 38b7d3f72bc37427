"""Are the modalities' logits of one size?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import Quantity, judged_epochs, measured, modalities, number
from ..words import count, few, listed, shown
from .identifiability import hidden

if TYPE_CHECKING:
    import xarray as xr

RULE = "logit_scale"


def logit_scale(tree: xr.DataTree) -> list[Finding]:
    """Judge whether one modality's logits are much longer than another's."""
    ds = measured(tree, "logit_norm", "norm_ratio", "mean_norm", "mean_centered_norm")
    unread = hidden(tree)
    names = [name for name in modalities(tree) if name not in unread]
    if ds is None or len(names) < 2:
        return []
    when = f" ({epochs})" if (epochs := judged_epochs(tree, "logit_norm")) else ""
    norms = {name: number(ds, "mean_norm", head=name) for name in sorted(names)}
    if any(map(math.isnan, norms.values())):
        sentence = f"How long the logits of {listed(names)} are is not known for each of them."
        return [_told(Verdict.INCONCLUSIVE, sentence, math.nan)]
    longest, shortest = max(norms, key=norms.__getitem__), min(norms, key=norms.__getitem__)
    ratio = number(ds, "norm_ratio", modality=longest, other=shortest)
    bound = threshold("logit_norm_ratio")
    if not ratio > bound:
        sentence = (
            f"The logits of {listed(names)} are of one size: none are more than {few(bound)} times "
            f"as long as others{when}."
        )
        return [_told(Verdict.NO, sentence, ratio)]
    long, short = (number(ds, "mean_centered_norm", head=name) for name in (longest, shortest))
    compared = (
        f"The logits of {shown(longest)} are {few(ratio)} times as long as those of "
        f"{shown(shortest)}{when}"
    )
    examples = tree.attrs["examples"]
    if examples < threshold("interval_examples"):
        sentence = f"{compared}, but {count(examples, 'example')} may be no measure."
        return [_told(Verdict.INCONCLUSIVE, sentence, ratio, longest)]
    if long > bound * short:
        sentence = f"{compared}, beyond the threshold of {few(bound)}."
        return [_told(Verdict.YES, sentence, ratio, longest)]
    sentence = (
        f"{compared}, but part of that is a constant added to all classes, which changes no "
        f"answer; without it they are {few(long / short)} times as long."
    )
    return [_told(Verdict.INCONCLUSIVE, sentence, ratio, longest)]


def _told(verdict: Verdict, sentence: str, ratio: float, modality: str = "") -> Finding:
    return Finding(
        RULE,
        verdict,
        sentence,
        modality=modality,
        threshold=threshold("logit_norm_ratio"),
        evidence="logit_norm.norm_ratio",
        **Quantity(ratio).as_found(),
    )
