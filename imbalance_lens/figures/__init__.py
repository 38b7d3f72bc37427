"""One figure per file; `plot_<file>` draws it from a labelled dataset.

Needs no torch, and leaves matplotlib's settings and pyplot alone.
"""

from __future__ import annotations

from typing import Any

from ..registry import Registry

FIGURES = Registry(
    package=__name__,
    attribute="FIGURE",
    kind="figure",
    apart=frozenset({"attributions", "overview"}),
)
"""The figures that are drawn from one dataset."""

_PREFIX = "plot_"


def save(axes: Any, path: Any) -> None:
    """Write the figure that some axes belong to into a file, its fonts included.

    Args:
        axes: what a `plot_` function returned; a matplotlib Figure will do.
        path: the file; its ending says the format: pdf, svg, png or another of matplotlib's.

    Raises:
        OSError: it cannot be written; what was there before is unchanged.
        SettingError: a format that matplotlib cannot write.
    """
    from ._style import saved

    saved(axes, path)


def __getattr__(name: str) -> Any:
    known = (*FIGURES.names(), *sorted(FIGURES.apart))
    figure = name.removeprefix(_PREFIX)
    if not name.startswith(_PREFIX) or figure not in known:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{figure}", __name__), name)


def __dir__() -> list[str]:
    named = (f"{_PREFIX}{name}" for name in (*FIGURES.names(), *FIGURES.apart))
    return sorted((*named, "FIGURES", "save"))
