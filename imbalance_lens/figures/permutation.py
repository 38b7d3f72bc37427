"""What becomes of the answers when a modality is exchanged between examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import bar, legend, name_ticks, reach, say_if_unknown
from ._style import NEUTRAL, Look, canvas, look, modalities

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_SHOWN = {"drop": (-0.2, 1.0, "accuracy lost"), "flip_rate": (0.2, 0.4, "answers changed")}


def plot_permutation(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the accuracy lost (full), and the share of answers that change (pale).

    Args:
        ds: what the probe `permutation` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names = modalities(ds)
    with canvas(ax) as ax:
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        for quantity, (shift, alpha, told) in _SHOWN.items():
            errors = reach(ds, quantity)
            for row, name in enumerate(names):
                own = None if errors is None else errors[:, row]
                value = float(ds[quantity].sel(modality=name))
                bar(ax, row + shift, value, look(name, names), own, width=0.38, alpha=alpha)
            bar(ax, 0, 0, Look("#555555"), alpha=alpha, label=told)
        name_ticks(ax, names)
        ax.set_xlabel("Exchanged modality")
        ax.set_ylabel("Share of the examples")
        legend(ax)
        say_if_unknown(ax, *(ds[quantity] for quantity in _SHOWN))
    return ax


FIGURE = Plot(
    plot=plot_permutation,
    reads=dict.fromkeys(_SHOWN, ("modality",)),
    answers="None (permutation importance of each modality)",
)
