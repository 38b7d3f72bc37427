"""What the features of each encoder know, and what the model makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._base import Plot
from ._marks import bar, legend, level, name_ticks, reach, say_if_unknown
from ._over_epochs import TRAINED_ALONE, unimodal
from ._style import Look, canvas, look, modalities

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_PROBE, _OWN = "accuracy", "own_accuracy"
_SHADES = {_PROBE: (-0.2, 1.0, "linear probe"), _OWN: (0.2, 0.4, "own logits")}


def plot_linear_probe(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the accuracy of a linear classifier on each encoder's features, and of its own logits.

    A diamond marks what a model trained on the modality alone gets right, where the dataset has
    the attribute `unimodal_accuracy`, {modality: accuracy} as JSON.

    Args:
        ds: what the probe `linear_probe` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, heads = modalities(ds), ds["head"].values.tolist()
    alone = unimodal(ds, heads)
    with canvas(ax) as ax:
        for quantity, (shift, alpha, told) in _SHADES.items():
            errors = reach(ds, quantity)
            for row, head in enumerate(heads):
                own = None if errors is None else errors[:, row]
                value = float(ds[quantity].sel(head=head))
                bar(ax, row + shift, value, look(head, names), own, width=0.38, alpha=alpha)
            bar(ax, 0, 0, Look("#555555"), alpha=alpha, label=told)
        if np.isfinite(alone).any():
            ax.plot(alone, "D", color="black", markersize=4, label=TRAINED_ALONE)
        level(ax, float(ds["majority"]), "most frequent label")
        name_ticks(ax, heads)
        ax.set_ylim(bottom=0)
        ax.set_ylabel("Accuracy")
        legend(ax)
        say_if_unknown(ax, ds[_PROBE], ds[_OWN])
    return ax


FIGURE = Plot(
    plot=plot_linear_probe,
    reads={_PROBE: ("head",), _OWN: ("head",), "majority": ()},
    answers="ABRi/FusT, Fig. 1b and 7; Wei et al., TPAMI 2024, Fig. 1 (beside unimodal models)",
)
