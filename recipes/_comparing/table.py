"""A comparison as text, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from imbalance_lens.notebook import as_table, bold

FORMATS = ("text", "csv", "latex")
NOTEBOOK = "html"
WIDTH = 100
"""Of a table in text; further columns go below."""

_HEADS = {
    "accuracy": "accuracy",
    "map": "mAP",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "time_ratio": "time",
    "flops_ratio": "FLOPs",
}


class Cell(NamedTuple):
    """One recipe by one metric.

    Attributes:
        mean: over the seeds that have a value.
        std: sample standard deviation; NaN below two.
        seeds: how many have a value.
        p_value: of the difference to the baseline.
        best: whether no other recipe is better.
        significant: whether the difference is marked.
        percent: whether it is shown in percent.
    """

    mean: float
    std: float
    seeds: int
    p_value: float
    best: bool
    significant: bool
    percent: bool


Columns = Mapping[str, Sequence[Cell]]


def written(form: str, labels: Sequence[str], columns: Columns, footnotes: Sequence[str]) -> str:
    """Return the table in one of the forms, or for notebooks; CSV has no footnotes."""
    if form == "csv":
        return _csv(labels, columns)
    if form == "latex":
        return _latex(labels, columns, footnotes)
    if form == NOTEBOOK:
        return _html(labels, columns, footnotes)
    return _text(labels, columns, footnotes)


def _text(labels: Sequence[str], columns: Columns, footnotes: Sequence[str]) -> str:
    first = ["", *labels]
    blocks: list[list[list[str]]] = []
    for name, cells in columns.items():
        column = [_head(name, cells), *map(_plain, cells)]
        if not blocks or sum(map(_width, [first, *blocks[-1], column])) > WIDTH:
            blocks.append([])
        blocks[-1].append(column)
    parts = []
    for block in blocks:
        aligned = [
            [cell.ljust(_width(first) - 2) for cell in first],
            *([cell.rjust(_width(column) - 2) for cell in column] for column in block),
        ]
        lines = ("  ".join(row).rstrip() for row in zip(*aligned, strict=True))
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, "\n".join(footnotes)])


def _csv(labels: Sequence[str], columns: Columns) -> str:
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["recipe", "metric", "mean", "std", "seeds", "p_value", "best"])
    for place, label in enumerate(labels):
        for name, cells in columns.items():
            cell = cells[place]
            numbers = [_number(cell.mean), _number(cell.std), cell.seeds, _number(cell.p_value)]
            rows.writerow([label, name, *numbers, int(cell.best)])
    return out.getvalue().rstrip("\n")


def _latex(labels: Sequence[str], columns: Columns, footnotes: Sequence[str]) -> str:
    heads = [_escaped(_head(name, cells)) for name, cells in columns.items()]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *heads]).lstrip() + r" \\",
        r"\midrule",
    ]
    for place, label in enumerate(labels):
        cells = [_math(cells[place]) for cells in columns.values()]
        lines.append(" & ".join([_escaped(label), *cells]) + r" \\")
    comments = [f"% {' '.join(note.split())}" for note in footnotes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *comments])


def _html(labels: Sequence[str], columns: Columns, footnotes: Sequence[str]) -> str:
    rows = [
        [label, *(_marked(cells[place]) for cells in columns.values())]
        for place, label in enumerate(labels)
    ]
    header = ["", *(_head(name, cells) for name, cells in columns.items())]
    return as_table(("", rows), header=header, notes=footnotes)


def _head(name: str, cells: Sequence[Cell]) -> str:
    told = _HEADS.get(name, name.replace("linear_probe", "probe"))
    return f"{told} %" if any(cell.percent for cell in cells) else told


def _plain(cell: Cell) -> str:
    if math.isnan(cell.mean):
        return "-"
    shown = " ± ".join(_rounded(cell))
    shown = f"**{shown}**" if cell.best else shown
    return f"{shown} *" if cell.significant else shown


def _marked(cell: Cell) -> object:
    shown = _plain(cell._replace(best=False))
    return bold(shown) if cell.best else shown


def _math(cell: Cell) -> str:
    if math.isnan(cell.mean):
        return "--"
    shown = r" \pm ".join(_rounded(cell))
    shown = rf"\mathbf{{{shown}}}" if cell.best else shown
    return f"${shown}{'^{*}' if cell.significant else ''}$"


def _rounded(cell: Cell) -> list[str]:
    scale, digits = (100, 1) if cell.percent else (1, 2)
    known = [number for number in (cell.mean, cell.std) if not math.isnan(number)]
    return [f"{scale * number:.{digits}f}" for number in known]


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _width(column: Sequence[str]) -> int:
    return max(map(len, column)) + 2


def _escaped(text: str) -> str:
    return "".join(_SIGNS.get(sign, sign) for sign in text)


_SIGNS = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
