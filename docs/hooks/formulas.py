"""Formulas as MathML, which browsers draw by themselves: no script, no font, no network."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex makes of `$...$`; one at the start of a paragraph stands for itself.
_FORMULA = re.compile(
    r'(?P<start><p>)?<span class="arithmatex">\\\((?P<latex>.+?)\\\)</span>', re.DOTALL
)


def on_page_content(html: str, **_: Any) -> str:
    """Turn the formulas of a page into MathML."""
    return _FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    made = convert(unescape(found["latex"]))
    if found["start"]:
        made = made.replace("<math ", '<math displaystyle="true" ', 1)
    return (found["start"] or "") + made
