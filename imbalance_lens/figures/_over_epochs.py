"""Accuracies over the epochs, beside what models of one modality reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import schema
from ._marks import epoch_axis, legend
from ._style import NEUTRAL, look
from ._tree import UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes

TRAINED_ALONE = "trained alone"


def unimodal(ds: xr.Dataset, names: Sequence[str]) -> list[float]:
    """Return what a model trained on each modality alone gets right; NaN where nobody has said."""
    known = schema.from_json(ds.attrs.get(UNIMODAL, "{}"))
    return [known.get(name, np.nan) for name in names]


def finish(ax: Axes, ds: xr.Dataset, names: Sequence[str]) -> None:
    """Add the unimodal reference, labels and legend to curves of accuracies."""
    alone = unimodal(ds, names)
    for name, value in zip(names, alone, strict=True):
        if np.isfinite(value):
            ax.axhline(value, color=look(name, names).color, linestyle=":", linewidth=1)
    if np.isfinite(alone).any():
        ax.plot([], [], color=NEUTRAL, linestyle=":", linewidth=1, label=TRAINED_ALONE)
    epoch_axis(ax)
    ax.set_ylabel("Accuracy")
    ax.set_ylim(bottom=0)
    legend(ax)
