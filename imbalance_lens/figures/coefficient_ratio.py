"""By how much a recipe slows an encoder that is so far ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import legend, say_if_unknown
from ._style import NEUTRAL, canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_RATIO, _FACTOR = "step_ratio", "step_coefficient"


def plot_coefficient_ratio(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the factor on each encoder's pace against its discrepancy ratio, a point per step.

    Args:
        ds: the history of a training with a recipe that scales gradients by the ratio.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names = modalities(ds)
    with canvas(ax) as ax:
        ax.axvline(1, color=NEUTRAL, linewidth=0.8, linestyle=":")
        for name in ds["modality"].values.tolist():
            one, color = ds.sel(modality=name), look(name, names).color
            x, y = one[_RATIO].values, one[_FACTOR].values
            ax.plot(x, y, "o", color=color, alpha=0.5, markeredgewidth=0, label=shown(name))
        ax.set_xlabel(words(ds[_RATIO], 44))
        ax.set_ylabel(words(ds[_FACTOR]))
        legend(ax)
        say_if_unknown(ax, ds[_FACTOR])
    return ax


FIGURE = Plot(
    plot=plot_coefficient_ratio,
    reads={_RATIO: ("step", "modality"), _FACTOR: ("step", "modality")},
    answers="MLB, Fig. 2 (k against r, as it came about in a training)",
)
