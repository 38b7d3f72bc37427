"""`imbalance-lens demo`: all of it on a small model that is trained on the spot."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import FILE


@click.command("demo")
@click.option(
    "--out",
    type=FILE,
    default="imbalance-lens-demo",
    show_default=True,
    help="Folder for the outputs; it is made if it is not there.",
)
def demo(out: Path) -> None:
    """Train a small audio-visual model on the CPU, and diagnose it.

    Takes about a minute and downloads nothing.
    """
    from ..demo import run

    run(out, say=click.echo)


COMMAND = demo
