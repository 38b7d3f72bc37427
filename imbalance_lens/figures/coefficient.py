"""By how much a recipe slows each encoder down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._over_steps import over_steps

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def plot_coefficient(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the factor on the pace of each encoder over the steps.

    Args:
        ds: the history of a training with a recipe that scales gradients.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    (name,) = FIGURE.check(ds)
    return over_steps(ds, name, ax)


FIGURE = Plot(
    plot=plot_coefficient,
    reads={"step_coefficient": ("step", "modality")},
    answers="None (the coefficient of OGM-GE or MLB over a training)",
)
