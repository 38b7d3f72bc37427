"""`imbalance-lens report`: what a saved report says."""

from __future__ import annotations

from pathlib import Path

import click

from ._answers import answers, report_text
from ._options import FILE, as_json


@click.command("report")
@click.argument("file", type=FILE)
@as_json
@answers
def report(file: Path, as_json: bool) -> str:
    """Print a saved report.

    FILE is what `diagnose --out` wrote. Neither the model nor the data is needed.
    """
    from ..report import load_report

    return report_text(load_report(file), as_json=as_json)


COMMAND = report
