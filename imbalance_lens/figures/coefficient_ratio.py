"""By how much a recipe slows an encoder that is so far ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import legend, say_if_unknown
from ._style import NEUTRAL, canvas, look, modalities, shown, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_RATIO, _FACTOR = "step_ratio", "step_coefficient"
_CURVE = "coefficient"


def plot_coefficient_ratio(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the factor on each encoder's pace against its discrepancy ratio, a point per step.

    Of settings that were not trained with, a curve each.

    Args:
        ds: the history of a training with a recipe that scales gradients by the ratio, or what
            `recipes.coefficient_curves` returns.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    factor = FIGURE.check(ds)[-1]
    with canvas(ax) as ax:
        ax.axvline(1, color=NEUTRAL, linewidth=0.8, linestyle=":")
        if factor == _CURVE:
            _draw_curves(ax, ds)
        else:
            _draw_steps(ax, ds)
        ax.set_ylabel(words(ds[factor]))
        legend(ax)
        say_if_unknown(ax, ds[factor])
    return ax


def _draw_steps(ax: Axes, ds: xr.Dataset) -> None:
    names = modalities(ds)
    for name in ds["modality"].values.tolist():
        one, color = ds.sel(modality=name), look(name, names).color
        x, y = one[_RATIO].values, one[_FACTOR].values
        ax.plot(x, y, "o", color=color, alpha=0.5, markeredgewidth=0, label=shown(name))
    ax.set_xlabel(words(ds[_RATIO], 44))


def _draw_curves(ax: Axes, ds: xr.Dataset) -> None:
    labels = ds["recipe"].values.tolist()
    for label in labels:
        style, factors = look(label, labels), ds[_CURVE].sel(recipe=label).values
        ax.plot(ds["ratio"].values, factors, color=style.color, ls=style.dash, label=shown(label))
    ax.axhline(1, color=NEUTRAL, linewidth=0.8, linestyle=":")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("Discrepancy ratio; above 1 the modality is ahead")


FIGURE = Plot(
    plot=plot_coefficient_ratio,
    reads={_RATIO: ("step", "modality"), _FACTOR: ("step", "modality")},
    or_reads={_CURVE: ("recipe", "ratio")},
    answers="MLB, Fig. 2 (k against r, for settings, or as it came about in a training)",
)
