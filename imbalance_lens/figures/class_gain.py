"""Which classes gain by all modalities together, and which lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import schema
from ._base import Plot
from ._marks import bar, name_ticks, say_if_unknown
from ._style import DOUBLE, NEUTRAL, Look, canvas, look, modalities, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_CLASS, _ALONE = "class_accuracy", "alone"
_MOST = 10
"""How many classes are drawn at either end."""


def plot_class_gain(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw by class how much more accurate all modalities are than the strongest one alone.

    Of more than 20 classes the ten that gain most and the ten that lose most are drawn.

    Args:
        ds: what the probe `zero_out` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, alone = modalities(ds), ds[_ALONE].values
    strongest = names[int(np.argmax(np.nan_to_num(alone, nan=-1.0)))]
    everyone = schema.coalition_name(names, names)
    by_set = ds[_CLASS].transpose("coalition", "label")
    gains = (by_set.sel(coalition=everyone) - by_set.sel(coalition=strongest)).values
    order = [place for place in np.argsort(-gains, kind="stable") if np.isfinite(gains[place])]
    cut = len(order) > 2 * _MOST
    drawn = [*order[:_MOST], *order[-_MOST:]] if cut else order
    with canvas(ax, DOUBLE) as ax:
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        for place, label in enumerate(drawn):
            style = Look("#222222") if gains[label] >= 0 else look(strongest, names)
            bar(ax, place, float(gains[label]), style, width=0.8)
        if cut:
            ax.axvline(_MOST - 0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")
        name_ticks(ax, ds["label"].values[drawn].tolist(), slant=0)
        ax.set_xlabel("Class")
        ax.set_ylabel(f"Accuracy with all modalities,\nminus {shown(strongest)} alone")
        if not drawn:
            say_if_unknown(ax, ds[_CLASS].where(False))
    return ax


FIGURE = Plot(
    plot=plot_class_gain,
    reads={_CLASS: ("coalition", "label"), _ALONE: ("modality",)},
    answers="G-Blend, Fig. 6; Wei et al., TPAMI 2024, Fig. 8 (against the strongest modality)",
)
