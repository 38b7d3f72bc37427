"""What can be read from each encoder's features as a training goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._base import Plot
from ._marks import curve, reach, say_if_unknown
from ._over_epochs import finish
from ._style import NEUTRAL, Look, canvas, look, modalities, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_PROBE, _OWN = "accuracy", "own_accuracy"
_DASHES = {_PROBE: ("-", "linear probe"), _OWN: ("--", "own logits")}


def plot_linear_probe_curves(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw over the epochs the accuracy of a linear classifier (solid) and of the own logits.

    A dotted line in the color of a modality is what a model trained on it alone gets right, where
    the dataset has the attribute `unimodal_accuracy`, {modality: accuracy} as JSON.

    Args:
        ds: what the probe `linear_probe` answers for several states of a model, put together by
            `imbalance_lens.over_epochs`.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, epochs = modalities(ds), ds["epoch"].values
    with canvas(ax) as ax:
        for quantity, (dash, _) in _DASHES.items():
            errors = reach(ds, quantity)
            for row, head in enumerate(ds["head"].values.tolist()):
                values = ds[quantity].transpose("head", "epoch").values[row]
                own = None if errors is None or quantity == _OWN else errors[:, :, row]
                told: Any = {"label": shown(head)} if quantity == _PROBE else {}
                curve(ax, epochs, values, Look(look(head, names).color, dash), own, **told)
        for dash, told in _DASHES.values():
            ax.plot([], [], color=NEUTRAL, linestyle=dash, label=told)
        finish(ax, ds, names)
        say_if_unknown(ax, ds[_PROBE], ds[_OWN])
    return ax


FIGURE = Plot(
    plot=plot_linear_probe_curves,
    reads={_PROBE: ("epoch", "head"), _OWN: ("epoch", "head")},
    several=("epoch",),
    answers="ABRi/FusT, Fig. 1b; Wei et al., TPAMI 2024, Fig. 1",
)
