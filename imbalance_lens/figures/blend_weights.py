"""How the weights of the heads' losses change over a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import curve, epoch_axis, legend, say_if_unknown
from ._style import canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_WEIGHT = "weight"


def plot_blend_weights(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the weight of each head's loss over the epochs.

    Args:
        ds: the history of a training with the recipe `g_blend`.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, epochs = modalities(ds), ds["epoch"].values
    with canvas(ax) as ax:
        for head in ds["head"].values.tolist():
            weights = ds[_WEIGHT].sel(head=head).values
            curve(ax, epochs, weights, look(head, names), label=shown(head))
        epoch_axis(ax)
        ax.set_ylim(bottom=0)
        ax.set_ylabel(words(ds[_WEIGHT]))
        legend(ax)
        say_if_unknown(ax, ds[_WEIGHT])
    return ax


FIGURE = Plot(
    plot=plot_blend_weights,
    reads={_WEIGHT: ("epoch", "head")},
    several=("epoch",),
    answers="G-Blend, Fig. 5a",
)
