"""How much each modality contributes to the examples of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import legend, say_if_unknown
from ._per_class import per_class
from ._shapley import first_value, what_is_shared
from ._style import DOUBLE, NEUTRAL, canvas, modalities, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_CLASS = "class_contribution"


def plot_shapley_per_class(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean contribution of each modality to the examples of each class.

    Of several values the first is drawn: keep another one with `ds.sel(value=["correct"])`.

    Args:
        ds: what the probe `shapley` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, means = modalities(ds), first_value(ds)[_CLASS]
    with canvas(ax, DOUBLE) as ax:
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        per_class(ax, {name: means.sel(modality=name) for name in names}, names)
        ax.set_ylabel(f"{words(means)}\n({what_is_shared(ds)})")
        legend(ax)
        say_if_unknown(ax, means)
    return ax


FIGURE = Plot(
    plot=plot_shapley_per_class,
    reads={_CLASS: ("modality", "value", "label")},
    answers="Wei et al., CVPR 2024 (by class)",
)
