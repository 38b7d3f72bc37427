"""What a command answers: text or JSON on stdout, and nothing else there."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import check_replaceable
from ..report.words import shortened

if TYPE_CHECKING:
    from ..report import Report

WIDTH = 80


def answers(command: Callable[..., str | None]) -> Callable[..., None]:
    """Print what the command returns, if anything; what is printed on the way goes to stderr."""

    @functools.wraps(command)
    def answering(**options: Any) -> None:
        with redirect_stdout(sys.stderr):
            answer = command(**options)
        if answer is not None:
            click.echo(answer)

    return answering


def json_text(value: Any) -> str:
    """Return valid JSON, in which a number that is not known is null."""
    return json.dumps(_jsonable(value), indent=2, allow_nan=False)


def report_text(report: Report, *, as_json: bool) -> str:
    """Return a report as text of 80 columns, or its main numbers and findings as JSON."""
    if not as_json:
        return str(report)
    return json_text(
        {
            "model": report.tree.attrs["model"],
            "examples": report.tree.attrs["examples"],
            "modalities": report.to_dataframe().to_dict("index"),
            "findings": [finding.as_dict() for finding in report.findings],
            "recommendations": [advice.as_dict() for advice in report.recommendations],
            "skipped": report.skipped,
            "notes": report.notes,
            "anatomy": report.anatomy,
            "imbalance_lens_version": report.tree.attrs["imbalance_lens_version"],
        }
    )


def saving(path: Path | None, write: Callable[[Any, Path], None]) -> Callable[[Any], None]:
    """Return a function that saves something; complain before the work if that cannot be done.

    Args:
        path: the file; None for none.
        write: writes a thing into a file, or leaves what was there before.
    """
    if path is None:
        return lambda _: None
    check_replaceable(path)

    def save(thing: Any) -> None:
        write(thing, path)
        click.echo(f"Saved {path}.", err=True)

    return save


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, as wide as the terminal of old: the first column gives way."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in list(zip(*lines, strict=True))[1:]]
    room = max(WIDTH - sum(widths) - 2 * len(widths), 12)
    first = min(max(len(line[0]) for line in lines), room)
    return "\n".join(
        "  ".join(
            [
                shortened(line[0], first).ljust(first),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths, strict=True)),
            ]
        ).rstrip()
        for line in lines
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
