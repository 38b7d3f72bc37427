"""What several recipes come to, over several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import bar, name_ticks, say_if_unknown
from ._style import NEUTRAL, Look, canvas, metric_label

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_VALUE = "value"
_BAR = Look("#B8C4CE")


def plot_comparison(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean of a metric over the seeds, its standard deviation, and each seed as a point.

    Of several metrics the first is drawn: keep another with `ds.sel(metric=["macro_f1"])`. The
    dotted line is the mean of what the others are compared with.

    Args:
        ds: that of what `recipes.compare` returns.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    values = ds[_VALUE].isel(metric=0)
    labels = values["recipe"].values.tolist()
    with canvas(ax) as ax:
        for place, row in enumerate(values.transpose("recipe", "seed").values):
            known = row[np.isfinite(row)]
            if not len(known):
                continue
            error = [known.std(ddof=1)] * 2 if len(known) > 1 else None
            bar(ax, place, known.mean(), _BAR, error, width=0.7)
            spread = np.linspace(-0.15, 0.15, len(known)) if len(known) > 1 else [0.0]
            ax.plot(place + np.asarray(spread), known, "o", color="#333333", markersize=2.5)
            if labels[place] == ds.attrs.get("baseline"):
                ax.axhline(known.mean(), color=NEUTRAL, linewidth=1, linestyle=":")
        name_ticks(ax, labels)
        ax.set_ylabel(metric_label(values["metric"].item()))
        say_if_unknown(ax, values)
    return ax


FIGURE = Plot(
    plot=plot_comparison,
    reads={_VALUE: ("recipe", "seed", "metric")},
    answers="MLB (accuracy bars with deviations)",
)
