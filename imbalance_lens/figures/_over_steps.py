"""One number per step and modality."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ._marks import curve, legend, level, say_if_unknown
from ._style import canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def over_steps(ds: xr.Dataset, name: str, ax: Axes | None, *, even: float | None = None) -> Axes:
    """Draw a variable over the steps, thin, and its means over the epochs, where there are some.

    Args:
        ds: with the variable.
        name: of the variable.
        ax: where to draw, or None.
        even: the number at which no modality is ahead, for ratios; they get a logarithmic axis.
    """
    names, values = modalities(ds), ds[name]
    steps, epoch_of = ds["step"].values, ds["step_epoch"].values
    epochs = np.unique(epoch_of)
    with canvas(ax) as ax:
        for modality in ds["modality"].values.tolist():
            style, own = look(modality, names), values.sel(modality=modality).values
            if len(epochs) < 2:
                curve(ax, steps, own, style, label=shown(modality))
                continue
            ax.plot(steps, own, color=style.color, linewidth=0.4, alpha=0.4)
            inside = [epoch_of == epoch for epoch in epochs]
            middles = [steps[rows].mean() for rows in inside]
            means = [_mean(own[rows]) for rows in inside]
            curve(ax, middles, means, style, label=shown(modality))
        ax.set_xlabel("Step; thick: mean of an epoch" if len(epochs) > 1 else "Step")
        ax.set_ylabel(words(values))
        if even is not None:
            level(ax, even, "even")
            ax.set_yscale("log")
            low, high = ax.get_ylim()
            near = MaxNLocator(5, steps=[1, 2, 5, 10])
            far = LogLocator(subs=(1, 1.5, 2, 3, 5, 7))
            ax.yaxis.set_major_locator(near if high < 1.5 * low else far)
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_locator(NullLocator())
        legend(ax)
        say_if_unknown(ax, values)
    return ax


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return known.mean() if len(known) else np.nan
