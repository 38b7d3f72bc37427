"""A convolution's filters, those of abnormal channels boxed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import say_if_unknown
from ._tiles import Box, by_largest, tiles

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_FILTER, _ABNORMAL = "filter", "abnormal"
_COLORS = ("#D55E00", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", ":")
_RGB = 3


def plot_filters(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the filters of a convolution, those of abnormal channels boxed.

    The box says by the smallest threshold that the channel's BatchNorm parameters are below.
    Filters of three planes are drawn in colors, of others the mean over the planes is; gray is 0,
    and each filter is drawn up to the size of its own largest entry.

    Args:
        ds: what `imbalance_lens.scan_filters` returns.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    filters = ds[_FILTER].transpose("channel", "row", "column", "plane")
    images = filters.values if filters.sizes["plane"] == _RGB else filters.mean("plane").values
    images = (by_largest(images) + 1) / 2
    marks = ds[_ABNORMAL].transpose("threshold", "channel").sortby("threshold")
    boxes, taken = {}, np.zeros(len(images), bool)
    for place, bound in enumerate(marks["threshold"].values):
        own = (marks.values[place].astype(float) > 0) & ~taken
        taken |= own
        turn = place % len(_COLORS)
        box = Box(f"below {bound:g}", _COLORS[turn], _DASHES[turn])
        boxes[box] = np.flatnonzero(own).tolist()
    ax = tiles(ax, images, boxes, ds.attrs.get("layer", ""), cmap="gray", vmin=0, vmax=1)
    say_if_unknown(ax, filters)
    return ax


FIGURE = Plot(
    plot=plot_filters,
    reads={
        _FILTER: ("channel", "plane", "row", "column"),
        _ABNORMAL: ("threshold", "channel"),
        "weight": ("channel",),
        "bias": ("channel",),
    },
    answers="ABRi/FusT, Fig. 2d",
)
