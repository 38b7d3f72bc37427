"""How much of the model's performance each modality contributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import schema
from ._base import Plot
from ._marks import bar, legend, name_ticks, reach, say_if_unknown
from ._style import NEUTRAL, Look, canvas, look, modalities, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_MEAN = "contribution"
_SHADES = (1.0, 0.45, 0.7)


def plot_shapley(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean contribution of each modality, by each of the values, with its interval.

    Args:
        ds: what the probe `shapley` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, values = modalities(ds), ds["value"].values.tolist()
    told = schema.from_json(ds.attrs["described"])
    errors, width = reach(ds, _MEAN), 0.8 / max(len(values), 1)
    with canvas(ax) as ax:
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        for (row, name), (column, value) in (
            (a, b) for a in enumerate(names) for b in enumerate(values)
        ):
            at = row, column
            shift = (column - (len(values) - 1) / 2) * width
            own = None if errors is None else errors[:, *at]
            alpha = _SHADES[column % len(_SHADES)]
            number = float(ds[_MEAN].values[at])
            bar(ax, row + shift, number, look(name, names), own, width=0.95 * width, alpha=alpha)
            bar(ax, row, 0, Look("#555555"), alpha=alpha, label=f"to {told[value]}")
        name_ticks(ax, names)
        ax.set_ylabel(words(ds[_MEAN]))
        legend(ax)
        say_if_unknown(ax, ds[_MEAN])
        ax.margins(y=0.08 if np.isfinite(ds[_MEAN].values).any() else None)
    return ax


FIGURE = Plot(
    plot=plot_shapley,
    reads={_MEAN: ("modality", "value")},
    answers="Wei et al., CVPR 2024 (contribution of each modality)",
)
