"""How large the modalities' logits become over a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from ._base import Plot
from ._marks import curve, epoch_axis, legend, say_if_unknown
from ._style import canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_MEAN, _CLASS = "mean_norm", "norm"


def plot_logit_norm(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean length of each head's logits over the epochs, with a thin line per class.

    Args:
        ds: what the probe `logit_norm` answers of a training.
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
            style = look(head, names)
            rows = ds[_CLASS].sel(head=head).transpose("label", "epoch").values
            threads = [np.column_stack([epochs, row]) for row in rows]
            ax.add_collection(
                LineCollection(threads, colors=style.color, linewidths=0.4, alpha=0.25)
            )
            curve(ax, epochs, ds[_MEAN].sel(head=head).values, style, label=shown(head))
        epoch_axis(ax)
        ax.set_ylabel(words(ds[_MEAN]))
        ax.autoscale_view()
        legend(ax)
        say_if_unknown(ax, ds[_MEAN])
    return ax


FIGURE = Plot(
    plot=plot_logit_norm,
    reads={_MEAN: ("epoch", "head"), _CLASS: ("epoch", "head", "label")},
    several=("epoch",),
    answers="OLM, Fig. 1, 5 and 6",
)
