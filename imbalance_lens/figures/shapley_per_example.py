"""How much each modality contributes to single examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._base import Plot
from ._marks import name_ticks, say_if_unknown
from ._shapley import first_value, what_is_shared
from ._style import NEUTRAL, canvas, look, modalities, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_EACH = "example_contribution"


def plot_shapley_per_example(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw how the contributions to single examples are distributed, with their mean.

    Of several values the first is drawn: keep another one with `ds.sel(value=["correct"])`.

    Args:
        ds: what the probe `shapley` answers, with `per_example`.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, each = modalities(ds), first_value(ds)[_EACH]
    with canvas(ax) as ax:
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        for place, name in enumerate(names):
            own = each.sel(modality=name).values.astype(float)
            known = own[np.isfinite(own)]
            if not len(known):
                continue
            color = look(name, names).color
            ax.plot(place, known.mean(), "o", color=color, markeredgecolor="white")
            if np.ptp(known) == 0:  # no density
                ax.hlines(known[0], place - 0.3, place + 0.3, color=color)
                continue
            parts: Any = ax.violinplot(known, [place], widths=0.8, showextrema=False)
            parts["bodies"][0].set(facecolor=color, edgecolor=color, alpha=0.35, linewidth=0.6)
        name_ticks(ax, names)
        ax.set_ylabel(f"{words(each)}\n({what_is_shared(ds)})")
        say_if_unknown(ax, each)
    return ax


FIGURE = Plot(
    plot=plot_shapley_per_example,
    reads={_EACH: ("example", "modality", "value")},
    answers="Wei et al., CVPR 2024 (contribution to single examples)",
)
