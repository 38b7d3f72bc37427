"""A report as text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from .findings import Verdict
from .outline import Outline
from .words import shortened

_WIDTH = 78
_NAMES = (8, 18)
"""The least and the most columns for the names of the modalities."""
_TIED = "\N{NO-BREAK SPACE}%"
_MARKS = {Verdict.YES: "!", Verdict.INCONCLUSIVE: "?"}


def as_text(outline: Outline) -> str:
    """Return the whole report, the verdict first."""
    blocks = [
        _filled(f"Report on {outline.title}"),
        _filled(outline.headline),
        [*_table(outline)],
        [*_section("Findings", _findings(outline))],
        [*_section("What may help", _advice(outline))],
        [*_section("Not measured", _missing(outline))],
        [*_section("How it was measured", (f"- {said}" for said in outline.method))],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _section(title: str, items: Iterable[str]) -> Iterator[str]:
    lines = [line for item in items for line in _filled(item, hanging="  ")]
    if lines:
        yield title
        yield from lines


def _findings(outline: Outline) -> Iterator[str]:
    for finding in outline.found:
        yield f"{_MARKS[finding.verdict]} {finding.sentence}"
    if outline.absent:
        yield f"- looked for and not found: {'; '.join(outline.absent)}"


def _advice(outline: Outline) -> Iterator[str]:
    for advice in outline.recommendations:
        recipe = f"{advice.recipe}: " if advice.recipe else ""
        yield f"- {recipe}{advice.reason}{f' ({advice.paper})' if advice.paper else ''}"


def _missing(outline: Outline) -> Iterator[str]:
    for probes, reason in outline.unanswered:
        yield f"- {probes}: {reason}"
    if outline.unasked:
        yield f"- only when named, for their cost: {', '.join(outline.unasked)}"


def _table(outline: Outline) -> Iterator[str]:
    if not outline.table:
        return
    lines = [("", outline.columns), *outline.table]
    widths = [max(map(len, column)) for column in zip(*(cells for _, cells in lines), strict=True)]
    least, most = _NAMES
    room = max(least, min(most, _WIDTH - sum(widths) - 2 * len(widths)))
    lines = [(shortened(name, room), cells) for name, cells in lines]
    first = max(len(name) for name, _ in lines)
    for name, cells in lines:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join([name.ljust(first), *padded]).rstrip()
    yield from _filled(outline.legend)


def _filled(paragraph: str, hanging: str = "") -> list[str]:
    kept = paragraph.replace(" %", _TIED)
    lines = textwrap.wrap(kept, _WIDTH, subsequent_indent=hanging, break_on_hyphens=False)
    return [line.replace(_TIED, " %") for line in lines]
