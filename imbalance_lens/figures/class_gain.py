"""Which classes gain by all modalities together, and which lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import schema
from ._base import Plot
from ._marks import bar, name_ticks, say_if_unknown
from ._style import DOUBLE, JOINT_COLOR, NEUTRAL, Look, canvas, look, modalities, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_CLASS, _ALONE = "class_accuracy", "alone"
_MOST = 10
"""How many classes are drawn at either end."""


def plot_class_gain(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw by class how much more accurate all modalities are than the strongest one alone.

    Of several states of a model, how much more accurate the last is than the first. Of more than
    20 classes the ten that gain most and the ten that lose most are drawn.

    Args:
        ds: what the probe `zero_out` answers; or for several states, such as a baseline and what
            a recipe made of it, put together by `imbalance_lens.over_epochs`.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    gains, told, lost = _of_states(ds) if "epoch" in ds[_CLASS].dims else _of_modalities(ds)
    order = [place for place in np.argsort(-gains, kind="stable") if np.isfinite(gains[place])]
    cut = len(order) > 2 * _MOST
    drawn = [*order[:_MOST], *order[-_MOST:]] if cut else order
    with canvas(ax, DOUBLE) as ax:
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        for place, label in enumerate(drawn):
            style = Look(JOINT_COLOR) if gains[label] >= 0 else lost
            bar(ax, place, float(gains[label]), style, width=0.8)
        if cut:
            ax.axvline(_MOST - 0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")
        name_ticks(ax, ds["label"].values[drawn].tolist(), slant=0)
        ax.set_xlabel("Class")
        ax.set_ylabel(told)
        if not drawn:
            say_if_unknown(ax, ds[_CLASS].where(False))
    return ax


def _of_modalities(ds: xr.Dataset) -> tuple[np.ndarray, str, Look]:
    names, alone = modalities(ds), ds[_ALONE].values
    strongest = names[int(np.argmax(np.nan_to_num(alone, nan=-1.0)))]
    by_set = ds[_CLASS].transpose("coalition", "label")
    everyone = by_set.sel(coalition=schema.coalition_name(names, names))
    gains = (everyone - by_set.sel(coalition=strongest)).values
    told = f"Accuracy with all modalities,\nminus {shown(strongest)} alone"
    return gains, told, look(strongest, names)


def _of_states(ds: xr.Dataset) -> tuple[np.ndarray, str, Look]:
    names = modalities(ds)
    everyone = ds[_CLASS].sel(coalition=schema.coalition_name(names, names))
    states = everyone.transpose("epoch", "label").values
    told = "Accuracy of the last state,\nminus that of the first"
    return states[-1] - states[0], told, Look(NEUTRAL)


FIGURE = Plot(
    plot=plot_class_gain,
    reads={_CLASS: ("coalition", "label"), _ALONE: ("modality",)},
    or_reads={_CLASS: ("epoch", "coalition", "label")},
    suits=lambda ds: ds.sizes.get("epoch", 2) > 1,
    answers="G-Blend, Fig. 6 (against the strongest modality); Wei et al., TPAMI 2024, Fig. 8",
)
