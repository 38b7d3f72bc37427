"""How many BatchNorm channels of each layer are next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._layers import layer_bars, say_if_nothing
from ._marks import bar, legend, say_if_unknown
from ._style import DOUBLE, Look, canvas, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_RATIO = "abnormal_ratio"


def plot_abnormal_batchnorm(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the share of abnormal channels of each layer, the darker, the smaller the threshold.

    Bars are of the last epoch. Where there are several, a dash marks the first, at the largest
    threshold.

    Args:
        ds: what the probe `abnormal_batchnorm` answers, or `scan_checkpoint`.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    counted = ds[_RATIO] if "epoch" in ds[_RATIO].dims else ds[_RATIO].expand_dims("epoch")
    ratios = counted.transpose("epoch", "threshold", "layer").sortby("threshold")
    bounds = ratios["threshold"].values[::-1]
    shades = np.linspace(0.3, 1, len(bounds)) if len(bounds) > 1 else [1.0]
    with canvas(ax, DOUBLE) as ax:
        for bound, shade in zip(bounds, shades, strict=True):
            layer_bars(ax, ds, ratios.isel(epoch=-1).sel(threshold=bound), alpha=shade)
            bar(ax, 0, 0, Look("#555555"), alpha=shade, label=f"below {bound:g}")
        if ratios.sizes["epoch"] > 1 and len(bounds):
            first = ratios.isel(epoch=0, threshold=-1).values
            ax.plot(first, "_", color="black", markersize=9, label="first epoch")
        ax.set_ylim(0, max(1.05 * np.nanmax(ratios.values, initial=0), 0.01))
        ax.set_ylabel(words(ratios, 26))
        legend(ax)
        say_if_unknown(ax, ratios)
        say_if_nothing(ax, ratios)
    return ax


FIGURE = Plot(
    plot=plot_abnormal_batchnorm,
    reads={_RATIO: ("epoch", "threshold", "layer")},
    or_reads={_RATIO: ("threshold", "layer")},
    answers="ABRi/FusT, Fig. 2a (before and after: of several epochs, the first is marked)",
)
