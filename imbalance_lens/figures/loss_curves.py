"""How the loss falls in a training, on its own examples and on others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import curve, epoch_axis, legend, say_if_unknown
from ._style import JOINT_COLOR, NEUTRAL, Look, canvas

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_STEPS, _HELD_OUT = "step_loss", "val_loss"


def plot_loss_curves(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw over the epochs the validation loss (solid) and the mean training loss (dashed).

    The training loss holds what recipes add to it, and is taken while the weights change.

    Args:
        ds: the history of a training with validation.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    epochs, own = ds["epoch"].values, ds["step_epoch"].values
    steps = [ds[_STEPS].values[own == epoch] for epoch in epochs]
    means = np.array([loss.mean() if len(loss) else np.nan for loss in steps])
    with canvas(ax) as ax:
        curve(ax, epochs, ds[_HELD_OUT].values, Look(JOINT_COLOR), label="validation")
        curve(ax, epochs, means, Look(NEUTRAL, "--"), label="training, mean of the epoch")
        epoch_axis(ax)
        ax.set_ylabel(f"Loss ({ds[_HELD_OUT].attrs['units']})")
        legend(ax)
        say_if_unknown(ax, ds[_STEPS], ds[_HELD_OUT])
    return ax


FIGURE = Plot(
    plot=plot_loss_curves,
    reads={_STEPS: ("step",), _HELD_OUT: ("epoch",)},
    several=("epoch",),
    answers="Wei et al., TPAMI 2024 (loss over a training); G-Blend (early stopping)",
)
