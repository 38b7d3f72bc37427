"""How sure each modality and the model are, and how often they are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import legend, say_if_unknown
from ._style import NEUTRAL, canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_SURE, _RIGHT, _ERROR, _COUNT = "confidence", "accuracy", "error", "count"
_SIZES = (2, 60)
"""Areas of the points of the emptiest and the fullest bin, in square points."""


def plot_calibration(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the reliability diagram, with the expected calibration error (ECE) of each head.

    Larger points hold more examples. Below the diagonal a head is more sure than right.

    Args:
        ds: what the probe `calibration` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, most = modalities(ds), max(float(ds[_COUNT].max()), 1.0) if ds[_COUNT].size else 1.0
    with canvas(ax, height=3.0) as ax:
        ax.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.8, linestyle=":")
        for head in ds["head"].values.tolist():
            one, style = ds.sel(head=head), look(head, names)
            full = np.isfinite(one[_SURE].values) & np.isfinite(one[_RIGHT].values)
            x, y = one[_SURE].values[full], one[_RIGHT].values[full]
            size = _SIZES[0] + (_SIZES[1] - _SIZES[0]) * one[_COUNT].values[full] / most
            told = f"{shown(head)} (ECE {float(one[_ERROR]):.3f})"
            ax.plot(x, y, color=style.color, linestyle=style.dash, linewidth=0.9, label=told)
            ax.scatter(x, y, size, color=style.color, alpha=0.7, linewidths=0)
        ax.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel=words(ds[_SURE], 44))
        ax.set_ylabel(words(ds[_RIGHT]))
        legend(ax)
        say_if_unknown(ax, ds[_RIGHT])
    return ax


FIGURE = Plot(
    plot=plot_calibration,
    reads={
        _SURE: ("head", "bin"),
        _RIGHT: ("head", "bin"),
        _COUNT: ("head", "bin"),
        _ERROR: ("head",),
    },
    answers="MLB, Fig. 5 (ECE)",
)
