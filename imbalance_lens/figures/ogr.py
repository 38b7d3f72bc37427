"""What each head gained on held-out examples, and how much it overfitted for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import legend, say_if_unknown
from ._style import NEUTRAL, canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def plot_ogr(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw overfitting against generalization; the slope of a head's line is its OGR.

    Args:
        ds: what the probe `ogr` answers, or what `estimate_weights` of G-Blend keeps.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    gained, overfitted, ratio = FIGURE.check(ds)
    names = modalities(ds)
    with canvas(ax, height=3.0) as ax:
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        ax.axvline(0, color=NEUTRAL, linewidth=0.6)
        for head in ds["head"].values.tolist():
            one, style = ds.sel(head=head), look(head, names)
            x, y = float(one[gained]), float(one[overfitted])
            if not np.isfinite([x, y]).all():
                continue
            slope = float(one[ratio])
            told = shown(head) + (f" (OGR {slope:.3g})" if np.isfinite(slope) else "")
            ax.plot([0, x], [0, y], color=style.color, linestyle=style.dash, label=told)
            ax.plot(x, y, "o", color=style.color, markersize=5)
        ax.set_xlabel(words(ds[gained], 44))
        ax.set_ylabel(words(ds[overfitted]))
        legend(ax)
        say_if_unknown(ax, ds[gained])
    return ax


FIGURE = Plot(
    plot=plot_ogr,
    reads={
        "total_delta_general": ("head",),
        "total_delta_overfit": ("head",),
        "total_ogr": ("head",),
    },
    or_reads={"generalization": ("head",), "overfitting": ("head",), "ogr": ("head",)},
    answers="G-Blend (the sketch of OGR, with numbers)",
)
