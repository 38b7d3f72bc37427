"""What each channel of a layer gives for one example, the dead ones boxed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import say_if_unknown
from ._tiles import Box, by_largest, tiles

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_MAP, _DEAD = "activation", "dead"
_ALWAYS, _HERE = "#D55E00", "#56B4E9"


def plot_feature_maps(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw a layer's feature maps of the first example, dead channels boxed.

    A solid box is around a channel that is dead in all examples of the dataset, a dashed one
    around a channel that is dead in this one. Each map is drawn from 0 to its own largest entry.
    For another example, give `ds.isel(example=[3])`.

    Args:
        ds: what `imbalance_lens.feature_maps` returns.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    maps = ds[_MAP].transpose("example", "channel", "row", "column")[:1]
    dead = ds[_DEAD].transpose("example", "channel").values.astype(float) > 0
    always = dead.all(0) & (len(dead) > 0)
    here = dead[:1].any(0) & ~always
    images = by_largest(np.concatenate([*maps.values, np.zeros((0, *maps.shape[2:]))]))
    told = "this example" if len(dead) == 1 else f"all {len(dead)} examples"
    boxes = {
        Box(f"dead in {told}", _ALWAYS): np.flatnonzero(always).tolist(),
        Box("dead in this one", _HERE, "--"): np.flatnonzero(here).tolist(),
    }
    used = {box: places for box, places in boxes.items() if places or box.color == _ALWAYS}
    least = -1 if (images < 0).any() else 0
    ax = tiles(ax, images, used, ds.attrs.get("place", ""), cmap="magma", vmin=least, vmax=1)
    say_if_unknown(ax, maps)
    return ax


FIGURE = Plot(
    plot=plot_feature_maps,
    reads={
        _MAP: ("example", "channel", "row", "column"),
        _DEAD: ("example", "channel"),
        "dead_rate": ("channel",),
    },
    shows=lambda ds: ds.isel(example=slice(0, 1)),
    answers="ABRi/FusT, Fig. 2b, 9 and 10",
)
