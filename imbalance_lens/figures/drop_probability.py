"""How often a recipe leaves each modality out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._over_steps import over_steps

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def plot_drop_probability(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the probability with which each modality is left out, over the steps.

    Args:
        ds: the history of a training with a recipe that leaves features out.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    (name,) = FIGURE.check(ds)
    return over_steps(ds, name, ax)


FIGURE = Plot(
    plot=plot_drop_probability,
    reads={"step_drop_probability": ("step", "modality")},
    answers="Wei et al., TPAMI 2024, Fig. 7a",
)
