"""What a report says, in order, before it becomes text or HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .findings import Finding, Verdict
from .reading import interval_name, measured, root, settings
from .recommend import Recommendation
from .summary import chance, rows, together
from .words import count, few, filled, listed, one_line, percent, shown, tenths

if TYPE_CHECKING:
    import xarray as xr


Table = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Outline:
    """The parts of a report, as words.

    Attributes:
        title: model and number of examples.
        headline: what is known about dominance.
        columns: titles of the table's columns.
        table: (name, cells) per row.
        legend: what the columns mean.
        found: findings of interest, the headline's left out.
        absent: what was looked for and not found.
        recommendations: what may help.
        skipped: probe and why it has no answer.
        method: how it was measured.
    """

    title: str
    headline: str
    columns: tuple[str, ...]
    table: Table
    legend: str
    found: tuple[Finding, ...]
    absent: tuple[str, ...]
    recommendations: tuple[Recommendation, ...]
    skipped: tuple[tuple[str, str], ...]
    method: tuple[str, ...]


def outline(
    tree: xr.DataTree,
    findings: Sequence[Finding],
    recommendations: Sequence[Recommendation],
) -> Outline:
    """Put a report's parts into words."""
    skipped = root(tree, "skipped")
    first = next((f for f in findings if f.rule == "dominance"), None)
    columns, table = _table(tree)
    return Outline(
        title=f"{shown(tree.attrs['model'])}, {count(tree.attrs['examples'], 'example')}",
        headline=first.sentence if first else _not_measured(skipped),
        columns=tuple(column.title for column in columns),
        table=table,
        legend="; ".join(f"{column.title}: {column.meaning}" for column in columns),
        found=tuple(f for f in findings if f is not first and f.verdict is not Verdict.NO),
        absent=_absent(findings),
        recommendations=tuple(recommendations),
        skipped=tuple((shown(name), one_line(why)) for name, why in skipped.items()),
        method=_method(tree),
    )


class _Column(NamedTuple):
    title: str
    key: str
    cell: Callable[[float], str]
    meaning: str


_COLUMNS = (
    _Column("alone", "alone", percent, "accuracy with only this modality"),
    _Column("without", "left_out", percent, "accuracy with only the others"),
    _Column("drop", "drop", tenths, "points of accuracy lost without it"),
    _Column("confidence", "confidence", "{:.3f}".format, "mean true-class probability, alone"),
    _Column("logit norm", "logit_norm", "{:#.3g}".format, "mean length of its logits"),
    _Column("abnormal", "abnormal", percent, "share of its encoder's BatchNorm channels"),
)


def _table(tree: xr.DataTree) -> tuple[list[_Column], Table]:
    own = rows(tree)
    columns = [c for c in _COLUMNS if any(not math.isnan(row[c.key]) for row in own.values())]
    if not columns:
        return [], ()
    extra = [("(together)", together(tree)), ("(most frequent)", chance(tree))]
    cells = [
        (name, tuple("" if math.isnan(row[c.key]) else c.cell(row[c.key]) for c in columns))
        for name, row in (*own.items(), *extra)
    ]
    return columns, tuple((name, row) for name, row in cells if name in own or any(row))


def _not_measured(skipped: Mapping[str, str]) -> str:
    reason = f": {one_line(skipped['zero_out'])}" if skipped.get("zero_out") else ""
    return f"Whether a modality dominates was not measured{reason}."


def _absent(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return what was looked for and not found, with the modalities it was looked for in."""
    looked: dict[str, list[str]] = {}
    for finding in findings:
        if finding.verdict is Verdict.NO and finding.rule != "dominance":
            looked.setdefault(finding.title, []).append(finding.modality)
    return tuple(
        f"{title} ({listed(filter(None, names))})" if any(names) else title
        for title, names in looked.items()
    )


def _method(tree: xr.DataTree) -> tuple[str, ...]:
    encoders = root(tree, "anatomy").get("encoders", {})
    said = ["Encoders: " + ", ".join(f"{shown(n)} ({shown(p)})" for n, p in encoders.items()) + "."]
    ds = measured(tree, "zero_out")
    if ds is not None:
        given = settings(ds)
        said.append(f"Absent modalities: features {filled(given.get('fill', 'zero'))}.")
        if "resamples" in given:
            said.append(
                f"Intervals: {interval_name(ds)}s from {given['resamples']:,} bootstrap resamples."
            )
    readout = root(tree, "readout")
    if readout.get("kind") in _READOUTS:
        gap = readout.get("additivity_gap")
        how = _READOUTS[readout["kind"]].format(gap="an unknown gap" if gap is None else few(gap))
        said.append(f"Logits of one modality: {how}.")
    versions = ("imbalance_lens", "torch")
    said.append(
        "Versions: "
        + ", ".join(f"{name} {tree.attrs[f'{name}_version']}" for name in versions)
        + f", schema {tree.attrs['schema_version']}."
    )
    return tuple(said)


_READOUTS = {
    "heads": "from a head of its own",
    "linear_split": "its part of the joint head, whose parts add up to within {gap}",
    "zero_out": "what the joint head says without the others; its parts do not add up (gap {gap})",
}
