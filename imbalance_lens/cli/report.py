"""`imbalance-lens report`: what a saved report says."""

from __future__ import annotations

from pathlib import Path

import click

from ._answers import answers, report_text, saving
from ._options import FILE, as_json


@click.command("report")
@click.argument("file", type=FILE)
@click.option("--html", "page", type=FILE, help="Save all of it in this file, as a page.")
@as_json
@answers
def report(file: Path, page: Path | None, as_json: bool) -> str:
    """Print a saved report.

    FILE is what `diagnose --out` wrote. Neither the model nor the data is needed.
    """
    from ..report import load_report
    from ._drawn import drawn

    saved = load_report(file)
    saving(page, lambda made, path: made.to_html(path, figures=drawn(made.tree)))(saved)
    return report_text(saved, as_json=as_json)


COMMAND = report
