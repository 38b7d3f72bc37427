"""Do the losses pull together, and who is ahead while the model is trained?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..findings import Finding, Verdict, threshold
from ..reading import Quantity, answered, is_of_training, late_steps, modalities, number
from ..words import count, few, listed, shown
from .identifiability import hidden

if TYPE_CHECKING:
    import xarray as xr


def conflicting_gradients(tree: xr.DataTree) -> list[Finding]:
    """Judge for each encoder whether the joint loss pulls against the modality's own."""
    ds = answered(tree, "gradient_conflict", "cosine", "mean_cosine", "mean_cosine_error")
    if ds is None:
        return []
    unread = hidden(tree)
    return [
        _conflict(tree, ds, name)
        for name in modalities(tree)
        # Without a single cosine it has no trainable parameters of its own.
        if name not in unread and ds["cosine"].sel(modality=name).notnull().any()
    ]


def _conflict(tree: xr.DataTree, ds: xr.Dataset, name: str) -> Finding:
    late, when = late_steps(tree, ds)
    if when:
        cosines = late["cosine"].sel(modality=name)
        mean = float(cosines.mean(skipna=False))
        several = cosines.size > 1
        spread = float(cosines.std(ddof=1, skipna=False)) if several else math.nan
        error = spread / cosines.size**0.5
    else:
        mean, error = (
            number(ds, variable, modality=name) for variable in ("mean_cosine", "mean_cosine_error")
        )
        when = count(ds.sizes["step"], "batch", "batches")
    reach = threshold("conflict_errors") * error
    size = Quantity(mean, mean - reach, mean + reach)
    verdict, claim = Verdict.INCONCLUSIVE, "Whether the joint loss pulls against {} is not clear"
    if size.high < 0:
        verdict, claim = Verdict.YES, "What helps the joint loss sets the encoder of {} back"
    elif size.low >= 0:
        verdict, claim = Verdict.NO, "What helps the joint loss helps the encoder of {} too"
    limits = f" ({size.low:.2f} to {size.high:.2f} with its errors)" if size.known else ""
    sentence = (
        f"{claim.format(shown(name))}: the mean cosine of its joint and its own gradient over "
        f"{when} is {_cosine(mean)}{limits}."
    )
    return Finding(
        "conflicting_gradients",
        verdict,
        sentence,
        modality=name,
        threshold=0.0,
        evidence="gradient_conflict.mean_cosine",
        **size.as_found(),
    )


def _cosine(mean: float) -> str:
    return "not known" if math.isnan(mean) else f"{mean:.2f}"


def training_lead(tree: xr.DataTree) -> list[Finding]:
    """Judge whether one modality's true-class score was far ahead of every other in training.

    The batches of a diagnosis are no steps of a training: there `dominance` judges.
    """
    ds = answered(tree, "discrepancy", "score")
    unread = hidden(tree)
    names = [name for name in modalities(tree) if name not in unread]
    if ds is None or len(names) < 2 or not is_of_training(tree):
        return []
    late, steps = late_steps(tree, ds)
    scores = late["score"].reindex(modality=names)
    leads = {name: _lead(scores, name) for name in sorted(names)}
    bound = threshold("training_lead")
    if any(math.isnan(lead.value) for lead in leads.values()):
        sentence = f"Who was ahead in {steps} is not known, for a score is 0 or no number."
        return [_told(Verdict.INCONCLUSIVE, sentence, Quantity(math.nan))]
    name, lead = max(leads.items(), key=lambda item: item[1].value)
    verdict, claim = Verdict.INCONCLUSIVE, "Whether {} was far ahead in training is not clear"
    if lead.low > bound:
        verdict, claim = Verdict.YES, "{} was far ahead of every other modality in training"
    elif lead.high <= bound:
        verdict, claim = Verdict.NO, f"None of {listed(names)} was far ahead in training"
    sentence = (
        f"{claim.format(shown(name))}: in {steps}, the true-class score of {shown(name)} was "
        f"{few(lead.value)} times the next best ({few(lead.low)} to {few(lead.high)} in 9 of 10 of "
        f"them); the threshold is {few(bound)}."
    )
    return [_told(verdict, sentence, lead, name if verdict is Verdict.YES else "")]


def _lead(scores: xr.DataArray, name: str) -> Quantity:
    """Return the median of how many times as high a score is, and where 9 of 10 steps lie."""
    others = scores.drop_sel(modality=name).max("modality", skipna=False)
    times = scores.sel(modality=name) / others.where(others > 0)
    return Quantity(*times.quantile([0.5, 0.05, 0.95], skipna=False).values.tolist())


def _told(verdict: Verdict, sentence: str, lead: Quantity, modality: str = "") -> Finding:
    return Finding(
        "training_lead",
        verdict,
        sentence,
        modality=modality,
        threshold=threshold("training_lead"),
        evidence="discrepancy.score",
        **lead.as_found(),
    )
