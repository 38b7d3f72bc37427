"""The figures of a report as parts of its page."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

ROOM = 400_000
"""So many characters of SVG leave room for tables on a page that can be mailed."""


def drawn(tree: xr.DataTree) -> dict[str, str]:
    """Return the figures of a report by what they show, the main ones first.

    Where there is no room for all, the smallest are taken, so that most find some; one with a
    mark for each of hundreds of classes may not.
    """
    from ..figures import FIGURES
    from ..figures._tree import datasets
    from ..figures.overview import PANELS

    parts = dict(datasets(tree))
    found = {}
    for figure in map(FIGURES.get, dict.fromkeys([*dict(PANELS), *FIGURES.names()])):
        ds = next((ds for ds in parts.values() if figure.fits(ds)), None)
        if ds is not None:
            found[_title(figure.plot)] = _svg(figure.plot(ds))
    taken, left = set(), ROOM
    for title in sorted(found, key=lambda title: len(found[title])):
        left -= len(found[title])
        if left >= 0:
            taken.add(title)
    return {title: svg for title, svg in found.items() if title in taken}


def _title(plot: Callable[..., Any]) -> str:
    """Return what a figure shows, as its docstring begins."""
    said = (inspect.getdoc(plot) or plot.__name__).splitlines()[0].removeprefix("Draw ")
    return said[:1].upper() + said[1:]


def _svg(axes: Any) -> str:
    """Return a figure as SVG whose words are text: a tenth of the size of drawn letters."""
    import matplotlib as mpl

    from ..figures._style import STYLE

    with mpl.rc_context({**STYLE, "svg.fonttype": "none"}), io.StringIO() as text:
        axes.get_figure(root=True).savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue().replace(_DRAWN_IN, f"{_DRAWN_IN}, Verdana, sans-serif")


_DRAWN_IN = "'DejaVu Sans'"
"""The font that letters are measured in; Verdana, where that is not installed, is as wide."""
