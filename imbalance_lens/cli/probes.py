"""`imbalance-lens probes`: what can be measured."""

from __future__ import annotations

import inspect
import textwrap

import click

from ._answers import WIDTH, answers, json_text
from ._options import as_json


@click.command("probes")
@as_json
@answers
def probes(as_json: bool) -> str:
    """List the probes, with a line on each."""
    from ..probes import PROBES

    lines = {
        name: (inspect.getdoc(PROBES.get(name)) or "").partition("\n")[0] for name in PROBES.names()
    }
    if as_json:
        return json_text(lines)
    indent = " " * (max(map(len, lines)) + 2)
    return "\n".join(
        textwrap.fill(line, WIDTH, initial_indent=name.ljust(len(indent)), subsequent_indent=indent)
        for name, line in lines.items()
    )


COMMAND = probes
