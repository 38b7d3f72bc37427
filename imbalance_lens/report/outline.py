"""What a report says, in order, before it becomes text or HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from .findings import Finding, Verdict
from .reading import answered, interval_name, judged_epochs, modalities, root, settings
from .recommend import Recommendation
from .summary import chance, rows, together
from .words import NOT_KNOWN, count, few, filled, listed, one_line, percent, shown, tenths

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
        found: findings of interest, the headline's left out; long rows of one kind shortened.
        absent: what was looked for and not found.
        recommendations: what may help.
        unanswered: probes, and why they have no answer.
        unasked: probes that run only when they are named.
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
    unanswered: tuple[tuple[str, str], ...]
    unasked: tuple[str, ...]
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
        legend=_legend(columns, table),
        found=_found(f for f in findings if f is not first),
        absent=_absent(findings, modalities(tree)),
        recommendations=_merged(recommendations),
        unanswered=_unanswered(skipped),
        unasked=tuple(shown(probe) for probe, why in skipped.items() if why.startswith(_UNASKED)),
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
    _Column("drop", "drop", tenths, "points lost without it"),
    _Column("Shapley", "shapley", tenths, "points that are its share"),
    _Column("linear", "linear_probe", percent, "accuracy of a linear classifier on its features"),
    _Column("conf.", "confidence", "{:.3f}".format, "mean true-class probability, alone"),
    _Column("norm", "logit_norm", "{:#.3g}".format, "mean length of its logits"),
    _Column("dead", "dead", percent, "share of its encoder's channels"),
    _Column("abn.", "abnormal", percent, "abnormal share of its encoder's BatchNorm channels"),
)


def _table(tree: xr.DataTree) -> tuple[list[_Column], Table]:
    own = rows(tree)
    extra = [("(together)", together(tree)), ("(most frequent)", chance(tree))]
    known = [*own.values(), *(row for _, row in extra)]
    columns = [c for c in _COLUMNS if any(not math.isnan(row[c.key]) for row in known)]
    seen_dead = any(column.key == "dead" for column in columns)
    columns = [c for c in columns if not (seen_dead and c.key == "abnormal")]
    if not columns:
        return [], ()
    cells = [
        (name, tuple(_cell(c, row[c.key], name in own) for c in columns))
        for name, row in (*own.items(), *extra)
    ]
    return columns, tuple((name, row) for name, row in cells if name in own or any(row))


def _legend(columns: Sequence[_Column], table: Table) -> str:
    meanings = [f"{column.title}: {column.meaning}" for column in columns]
    if any(NOT_KNOWN in cells for _, cells in table):
        meanings.append(f"{NOT_KNOWN}: not known")
    return "; ".join(meanings)


def _cell(column: _Column, value: float, of_modality: bool) -> str:
    if math.isnan(value):
        return NOT_KNOWN if of_modality else ""
    return column.cell(value)


def _not_measured(skipped: Mapping[str, str]) -> str:
    reason = f": {one_line(skipped['zero_out'])}" if skipped.get("zero_out") else ""
    return f"Whether a modality dominates was not measured{reason}."


def _found(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return what was found or is in doubt; the same of many modalities is told of one of them."""
    told = []
    of_interest = [finding for finding in findings if finding.verdict is not Verdict.NO]
    for kind in dict.fromkeys((f.rule, f.verdict) for f in of_interest):
        same = [f for f in of_interest if (f.rule, f.verdict) == kind]
        named = [f for f in same if f.modality]
        if len(named) > _MANY:
            also = f" The same for {listed(f.modality for f in named[1:])}."
            named = [replace(named[0], sentence=named[0].sentence + also)]
        told += [*named, *(f for f in same if not f.modality)]
    return tuple(told)


_MANY = 2
"""So many findings of one kind are told one by one."""


def _absent(findings: Sequence[Finding], everyone: Sequence[str]) -> tuple[str, ...]:
    """Return what was looked for and not found, and in which modalities if not in all."""
    looked: dict[str, list[str]] = {}
    for finding in findings:
        if finding.verdict is Verdict.NO and finding.rule != "dominance":
            looked.setdefault(finding.title, []).append(finding.modality)
    return tuple(
        f"{title} ({listed(filter(None, names))})"
        if any(names) and set(everyone) - {*names}
        else title
        for title, names in looked.items()
    )


def _merged(recommendations: Sequence[Recommendation]) -> tuple[Recommendation, ...]:
    """Say once what is recommended for several modalities."""
    merged = []
    for _, same in groupby(recommendations, key=lambda advice: (advice.recipe, advice.rule)):
        first, *others = same
        also = f" The same for {listed(o.modality for o in others)}." if others else ""
        merged.append(replace(first, reason=first.reason + also))
    return tuple(merged)


def _unanswered(skipped: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the reasons for missing answers, each with all probes that it holds for."""
    probes: dict[str, list[str]] = {}
    for probe, reason in skipped.items():
        if not reason.startswith(_UNASKED):
            probes.setdefault(one_line(reason), []).append(shown(probe))
    return tuple((", ".join(names), reason) for reason, names in probes.items())


_UNASKED = "it runs only when it is named"
"""How a diagnosis begins its reason for a probe that was not asked."""


def _method(tree: xr.DataTree) -> tuple[str, ...]:
    encoders = root(tree, "anatomy").get("encoders", {})
    said = ["Encoders: " + ", ".join(f"{shown(n)} ({shown(p)})" for n, p in encoders.items()) + "."]
    ds = answered(tree, "zero_out")
    if ds is not None:
        given = settings(ds)
        said.append(f"Absent modalities: features {filled(given.get('fill', 'zero'))}.")
        if "resamples" in given:
            said.append(
                f"Intervals: {interval_name(ds)}s from {given['resamples']:,} bootstrap resamples."
            )
    epochs = dict.fromkeys(judged_epochs(tree, str(probe)) for probe in tree.children)
    said += [f"Judged: {which}." for which in epochs if which]
    said += _linear(tree)
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


def _linear(tree: xr.DataTree) -> list[str]:
    ds = answered(tree, "linear_probe")
    if ds is None:
        return []
    fitted = count(ds.attrs.get("fit_examples", 0), "example")
    how = f"cross-validated on {fitted}"
    if ds.attrs.get("protocol") == "train":
        how = f"fitted on {fitted} that the model was trained on"
    return [f"Linear classifiers: {how}."]


_READOUTS = {
    "heads": "from a head of its own",
    "linear_split": "its part of the joint head, whose parts add up to within {gap}",
    "zero_out": "what the joint head says without the others; its parts do not add up (gap {gap})",
}
