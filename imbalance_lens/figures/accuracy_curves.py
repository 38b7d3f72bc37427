"""What the model and each modality in it get right as a training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import schema
from ._base import Plot
from ._marks import curve, say_if_unknown
from ._over_epochs import finish
from ._style import canvas, look, modalities, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_OWN, _JOINT = "val_modality_accuracy", "val_accuracy"


def plot_accuracy_curves(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw over the epochs the validation accuracy of each modality's own logits and of all.

    A dotted line in the color of a modality is what a model trained on it alone gets right, where
    the dataset has the attribute `unimodal_accuracy`, {modality: accuracy} as JSON.

    Args:
        ds: the history of a training with validation.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, epochs = modalities(ds), ds["epoch"].values
    with canvas(ax) as ax:
        for name in ds["modality"].values.tolist():
            own = ds[_OWN].sel(modality=name).values
            curve(ax, epochs, own, look(name, names), label=shown(name))
        joint = look(schema.JOINT, names)
        curve(ax, epochs, ds[_JOINT].values, joint, label=shown(schema.JOINT))
        finish(ax, ds, names)
        say_if_unknown(ax, ds[_OWN], ds[_JOINT])
    return ax


FIGURE = Plot(
    plot=plot_accuracy_curves,
    reads={_OWN: ("epoch", "modality"), _JOINT: ("epoch",)},
    several=("epoch",),
    answers="OLM (test accuracy of each modality and of all); Wei et al., TPAMI 2024, Fig. 1",
)
