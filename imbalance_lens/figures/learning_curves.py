"""How each head learns the training examples, and how others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._base import Plot
from ._marks import curve, epoch_axis, legend, say_if_unknown
from ._style import NEUTRAL, Look, canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_LOSS = "loss"
_DASHES = {"held_out": ("-", "held out"), "train": ("--", "training")}


def plot_learning_curves(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the loss of each head on held-out examples (solid) and training examples (dashed).

    Args:
        ds: what the probe `ogr` answers, or what `estimate_weights` of G-Blend keeps.
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
            color = look(head, names).color
            for part, (dash, _) in _DASHES.items():
                values = ds[_LOSS].sel(part=part, head=head).values
                told: Any = {"label": shown(head)} if part == "held_out" else {}
                curve(ax, epochs, values, Look(color, dash), markersize=2.5, **told)
        for dash, part in _DASHES.values():
            ax.plot([], [], color=NEUTRAL, linestyle=dash, label=part)
        epoch_axis(ax)
        ax.set_ylabel(words(ds[_LOSS]))
        legend(ax)
        say_if_unknown(ax, ds[_LOSS])
    return ax


FIGURE = Plot(
    plot=plot_learning_curves,
    reads={_LOSS: ("epoch", "part", "head")},
    several=("epoch",),
    answers="G-Blend, Fig. 3, 4 and 9",
)
