"""A report as HTML for notebooks: one small fragment that needs nothing else."""

from __future__ import annotations

from .outline import Outline


def as_html(outline: Outline) -> str:
    """Return the whole report; every name, path and message in it is escaped."""
    import jinja2

    templates = jinja2.PackageLoader("imbalance_lens.report")
    environment = jinja2.Environment(
        loader=templates, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(outline=outline)
