"""A report as HTML: a fragment for notebooks, and a page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..notebook import STYLE
from .drawings import drawings
from .evidence import evidence
from .outline import Outline
from .provenance import provenance

if TYPE_CHECKING:
    import jinja2
    import xarray as xr

LARGEST = 1_000_000
"""A page has fewer bytes, so that it can be mailed."""


def as_html(outline: Outline) -> str:
    """Return the whole report as a fragment; every name, path and message in it is escaped."""
    return _templates().get_template("report.html").render(outline=outline, style=STYLE)


def as_page(outline: Outline, tree: xr.DataTree, figures: Mapping[str, str]) -> str:
    """Return the whole report and its numbers as a page; all but the figures is escaped.

    Args:
        outline: of the report.
        tree: of the same report.
        figures: what each shows -> SVG.

    Raises:
        SettingError: a figure is no SVG that can stand in a page.
    """
    templates = _templates()
    script = templates.get_template("page.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    given = {
        "outline": outline,
        "drawings": drawings(figures),
        "provenance": provenance(tree),
        "script": script,
        "script_hash": f"sha256-{digest}",
    }

    def rendered(room: int) -> str:
        tables = evidence(tree, room)
        anchors = {one.probe: f"numbers-{place}" for place, one in enumerate(tables)}
        page = templates.get_template("page.html")
        return page.render(evidence=tables, anchors=anchors, **given)

    largest, *smaller = _ROOMS
    page = rendered(largest)
    for room in smaller:
        if len(page.encode()) < LARGEST:
            break
        page = rendered(room)
    return page


_ROOMS = (30_000, 10_000, 3_000, 1_000, 300)
"""How many numbers to show, in tries: how long the names around them are is seen afterwards."""


def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("imbalance_lens.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
