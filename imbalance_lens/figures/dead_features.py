"""How many channels of each layer a ReLU silences on data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._layers import layer_bars, say_if_nothing
from ._marks import legend, say_if_unknown
from ._style import DOUBLE, canvas, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_SHARE = "dead_share"


def plot_dead_features(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the share of dead channels of each layer.

    Args:
        ds: what the probe `dead_features` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    shares = ds[_SHARE].isel(epoch=-1) if "epoch" in ds[_SHARE].dims else ds[_SHARE]
    with canvas(ax, DOUBLE) as ax:
        layer_bars(ax, ds, shares)
        ax.set_ylim(0, max(1.05 * np.nanmax(shares.values, initial=0), 0.01))
        ax.set_ylabel(words(shares, 26))
        legend(ax)
        say_if_unknown(ax, shares)
        say_if_nothing(ax, shares)
    return ax


FIGURE = Plot(
    plot=plot_dead_features,
    reads={_SHARE: ("layer",)},
    or_reads={_SHARE: ("epoch", "layer")},
    answers="ABRi/FusT, Fig. 2b, 9 and 10 (as shares, without the feature maps)",
)
