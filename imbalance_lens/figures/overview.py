"""One page on a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from ..errors import SchemaError
from ..registry import unknown
from ._style import DOUBLE, NEUTRAL, STYLE, shown
from ._tree import datasets

if TYPE_CHECKING:
    import xarray as xr

PANELS = (
    ("zero_out", "Each modality alone, and left out"),
    ("shapley", "Contributions"),
    ("linear_probe", "What the encoders know"),
    ("missing_modality", "Missing modalities"),
    ("calibration", "Calibration"),
    ("logit_norm_per_class", "Size of the logits"),
    ("abnormal_batchnorm", "Abnormal BatchNorm channels"),
    ("dead_features", "Dead channels"),
)
"""The main figures, with their titles, the most telling first."""
_COLUMNS, _ROW = 2, 2.8


def plot_overview(tree: xr.DataTree, *, panels: Sequence[str] | None = None) -> Figure:
    """Draw the main figures of a report on one page, as many as it has numbers for.

    Args:
        tree: of a report, as `Report.tree` is.
        panels: which of them, by name. Default: all.

    Returns:
        A matplotlib figure, for `save`.

    Raises:
        SchemaError: nothing in the tree can be drawn.
        UnknownNameError: a panel that is none of the main figures.
    """
    from . import FIGURES

    parts = dict(datasets(tree))
    titles = dict(PANELS)
    for name in panels or ():
        if name not in titles:
            raise unknown("panel", name, titles)
    found = []
    for name in titles if panels is None else panels:
        figure = FIGURES.get(name)
        source = next((ds for ds in parts.values() if figure.fits(ds)), None)
        if source is not None:
            found.append((figure.plot, source, titles[name]))
    if not found:
        held = ", ".join(parts) or "nothing"
        raise SchemaError(f"Nothing in the tree can be drawn; it holds {held}.")
    rows = -(-len(found) // _COLUMNS)
    with mpl.rc_context(STYLE):
        page = Figure(figsize=(DOUBLE, _ROW * rows), layout="constrained")
        grid = page.subfigures(rows, _COLUMNS, squeeze=False).flat
        for part, (plot, source, title) in zip(grid, found, strict=False):
            plot(source, ax=part.subplots())
            part.suptitle(title, x=0.02, ha="left", fontweight="bold", fontsize=8)
        model, examples = (tree.attrs.get(name, "?") for name in ("model", "examples"))
        told = f"{shown(model)}, {examples} examples"
        page.suptitle(told, x=0.01, ha="left", color=NEUTRAL, fontsize=STYLE["font.size"])
    return page
