"""How often the model is right, by which modalities are right alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import say_if_unknown
from ._style import DOUBLE, NEUTRAL, canvas, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_RIGHT, _WRONG = "right", "wrong"
_MOST_COLUMNS = 8


def plot_agreement(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the agreement matrix: the model right or wrong, by who is right alone.

    Of more than eight patterns the most frequent eight are drawn.

    Args:
        ds: what the probe `agreement` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    table = np.stack([ds[_RIGHT].values, ds[_WRONG].values])
    often = np.argsort(-np.nan_to_num(table.sum(0)), kind="stable")[:_MOST_COLUMNS]
    columns = np.sort(often)
    patterns = [str(name) for name in ds["pattern"].values[columns]]
    width = min(DOUBLE, 1.2 + 0.85 * max(len(columns), 1))
    with canvas(ax, width, 1.9) as ax:
        if len(columns):
            ax.imshow(table[:, columns], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(table[:, columns]):
            told = f"{100 * value:.1f} %" if np.isfinite(value) else "-"
            color = "white" if value > 0.55 else "black"
            ax.text(column, row, told, ha="center", va="center", color=color, fontsize=7)
        told = [shown(name).replace("+", "\n+ ") if name else "none" for name in patterns]
        ax.set_xticks(range(len(told)), told)
        ax.set_yticks([0, 1], ["right", "wrong"])
        ax.set_xlabel("Right alone")
        ax.set_ylabel("The model is")
        ax.grid(visible=False)
        ax.tick_params(length=0)
        ax.spines[:].set_color(NEUTRAL)
        say_if_unknown(ax, ds[_RIGHT], ds[_WRONG])
    return ax


FIGURE = Plot(
    plot=plot_agreement,
    reads={_RIGHT: ("pattern",), _WRONG: ("pattern",)},
    answers="MLB, Fig. 4",
)
