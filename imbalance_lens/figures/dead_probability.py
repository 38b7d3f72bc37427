"""Which channels are dead on data, and which their parameters call dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import legend, say_if_unknown
from ._style import NEUTRAL, canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_RATE, _PREDICTED = "dead_rate", "dead_probability"


def plot_dead_probability(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw for each channel how often it is dead on data, against what its parameters say.

    Args:
        ds: what `imbalance_lens.capacity.join` returns.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names = modalities(ds)
    owner = dict(zip(ds["layer"].values.tolist(), ds["modality"].values.tolist(), strict=True))
    owners = [owner[layer] for layer in ds["channel_layer"].values.tolist()]
    with canvas(ax, height=3.0) as ax:
        for name in dict.fromkeys(owners):
            rows = [own == name for own in owners]
            ax.plot(
                ds[_PREDICTED].values[rows],
                ds[_RATE].values[rows],
                "o",
                color=look(name, names).color,
                alpha=0.5,
                markeredgewidth=0,
                label=shown(name) or "other",
            )
        ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
        ax.axvline(0.5, color=NEUTRAL, linewidth=0.5, linestyle=":")
        ax.set_xlabel(words(ds[_PREDICTED], 44))
        ax.set_ylabel(words(ds[_RATE]))
        legend(ax)
        say_if_unknown(ax, ds[_RATE])
    return ax


FIGURE = Plot(
    plot=plot_dead_probability,
    reads={_RATE: ("channel",), _PREDICTED: ("channel",)},
    answers="ABRi/FusT, footnotes 1 and 2 (parameters against data)",
)
