"""The main numbers of a report: one row per modality, and one for all of them together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .. import schema
from .reading import alone_and_without, lost_by_filling, measured, modalities, number, settings
from .rules.capacity import abnormal_shares, dead_shares

if TYPE_CHECKING:
    import xarray as xr

COLUMNS = (
    "alone",
    "alone_low",
    "alone_high",
    "left_out",
    "drop",
    "drop_low",
    "drop_high",
    "confidence",
    "confidence_drop",
    "shapley",
    "linear_probe",
    "logit_norm",
    "dead",
    "abnormal",
)
"""Accuracy with only the modality, accuracy without it, accuracy and true-class confidence lost
without it, confidence with only it, Shapley share of the accuracy, accuracy of a linear classifier
on its features, length of its logits, shares of channels dead on the data and abnormal."""

Row = dict[str, float]


def rows(tree: xr.DataTree) -> dict[str, Row]:
    """Return the numbers of `COLUMNS` by modality; NaN where one was not measured."""
    dead, abnormal = dead_shares(tree), abnormal_shares(tree)
    return {
        name: {
            **_unknown(),
            **_scores(tree, name),
            **_of_head(tree, name),
            "shapley": _shapley(tree, name),
            "dead": dead.get(name, math.nan),
            "abnormal": abnormal.get(name, math.nan),
        }
        for name in modalities(tree)
    }


def together(tree: xr.DataTree) -> Row:
    """Return the same of all modalities at once, as far as it has a meaning."""
    row = {**_unknown(), **_of_head(tree, schema.JOINT)}
    ds = measured(tree, "zero_out", "accuracy", "confidence")
    if ds is not None:
        names = modalities(tree)
        everyone = schema.coalition_name(names, names)
        row["alone"] = number(ds, "accuracy", coalition=everyone)
        row["confidence"] = number(ds, "confidence", coalition=everyone)
    return row


def chance(tree: xr.DataTree) -> Row:
    """Return the same of always giving the most frequent label."""
    ds = measured(tree, "zero_out", "majority")
    return {**_unknown(), **({} if ds is None else {"alone": number(ds, "majority")})}


def _unknown() -> Row:
    return dict.fromkeys(COLUMNS, math.nan)


def _scores(tree: xr.DataTree, name: str) -> Row:
    ds = measured(tree, "zero_out", "accuracy", "confidence", "alone", "drop", "confidence_drop")
    if ds is None:
        return {}
    names = modalities(tree)
    without = schema.coalition_name([other for other in names if other != name], names)
    ends = {
        f"{score}_{bound}": number(ds, f"{score}_interval", modality=name, bound=bound)
        for score in ("alone", "drop")
        for bound in ("low", "high")
    }
    row = {
        **ends,
        "alone": number(ds, "alone", modality=name),
        "left_out": number(ds, "accuracy", coalition=without),
        "drop": number(ds, "drop", modality=name),
        "confidence": number(ds, "confidence", coalition=name),
        "confidence_drop": number(ds, "confidence_drop", modality=name),
    }
    alone, others = alone_and_without(names, name)
    lost = {
        *(_OF_ALONE if lost_by_filling(tree, alone) else ()),
        *(_OF_OTHERS if lost_by_filling(tree, others) else ()),
    }
    return {column: math.nan if column in lost else value for column, value in row.items()}


_OF_ALONE = ("alone", "alone_low", "alone_high", "confidence")
_OF_OTHERS = ("left_out", "drop", "drop_low", "drop_high", "confidence_drop")
"""What is not known where a fill has made the logits of the set unreadable."""


def _of_head(tree: xr.DataTree, head: str) -> Row:
    found = {}
    for column, probe, variable in (
        ("linear_probe", "linear_probe", "accuracy"),
        ("logit_norm", "logit_norm", "mean_norm"),
    ):
        ds = measured(tree, probe, variable)
        if ds is not None:
            found[column] = number(ds, variable, head=head)
    return found


def _shapley(tree: xr.DataTree, name: str) -> float:
    ds = measured(tree, "shapley", "contribution")
    if ds is None or _is_lost(tree, ds):
        return math.nan
    return number(ds, "contribution", modality=name, value="correct")


def _is_lost(tree: xr.DataTree, shares: xr.Dataset) -> bool:
    """Say whether shares rest on the fill that made logits of zero_out unreadable."""
    names = modalities(tree)
    sets = [(), *(present for name in names for present in alone_and_without(names, name))]
    if not lost_by_filling(tree, *sets):
        return False
    fills = [settings(ds).get("fill") for ds in (tree["zero_out"].to_dataset(), shares)]
    return fills[0] == fills[1]
