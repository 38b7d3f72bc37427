"""`imbalance-lens probes`: what can be measured."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING

import click

from ._answers import WIDTH, answers, json_text
from ._options import as_json

if TYPE_CHECKING:
    from ..probes._base import Probe


@click.command("probes")
@as_json
@answers
def probes(as_json: bool) -> str:
    """List the probes, with a line on each."""
    from ..probes import PROBES

    found = {name: PROBES.get(name) for name in PROBES.names()}
    if as_json:
        return json_text(
            {
                name: {"line": _line(probe), "only_when_named": probe.only_when_named}
                for name, probe in found.items()
            }
        )
    indent = " " * (max(map(len, found)) + 2)
    return "\n".join(
        textwrap.fill(
            _line(probe) + (" Only when named." if probe.only_when_named else ""),
            WIDTH,
            initial_indent=name.ljust(len(indent)),
            subsequent_indent=indent,
        )
        for name, probe in found.items()
    )


def _line(probe: type[Probe]) -> str:
    return (inspect.getdoc(probe) or "").partition("\n")[0]


COMMAND = probes
