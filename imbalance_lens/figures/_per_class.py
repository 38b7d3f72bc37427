"""One number per class and modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._marks import MOST_TICKS, bar
from ._style import look, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def per_class(ax: Axes, parts: Mapping[str, xr.DataArray], names: Sequence[str]) -> None:
    """Draw bars for a few classes, and points for many.

    Args:
        ax: where to draw.
        parts: modality or head -> one number per label.
        names: the modalities, in the order of their colors.
    """
    labels = next(iter(parts.values()))["label"].values
    few = len(labels) * len(parts) <= 4 * MOST_TICKS
    width = 0.8 / len(parts)
    for k, (name, values) in enumerate(parts.items()):
        style = look(name, names)
        if not few:
            ax.plot(labels, values.values, ".", color=style.color, label=shown(name), markersize=3)
            continue
        shift = (k - (len(parts) - 1) / 2) * width
        for place, (label, value) in enumerate(zip(labels, values.values, strict=True)):
            told = {"label": shown(name)} if place == 0 else {}
            bar(ax, float(label) + shift, float(value), style, width=width, **told)
    if few and len(labels) <= MOST_TICKS:
        ax.set_xticks(labels, [str(label) for label in labels])
    if len(labels):
        ax.set_xlim(np.min(labels) - 0.6, np.max(labels) + 0.6)
    ax.set_xlabel("Class")
