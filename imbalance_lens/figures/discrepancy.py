"""How far each modality is ahead of the others, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._over_steps import over_steps

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def plot_discrepancy(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the discrepancy ratio of each modality over the steps.

    Args:
        ds: what the probe `discrepancy` answers, or the history of a training with a recipe that
            computes the ratio.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    name, *_ = FIGURE.check(ds)
    return over_steps(ds, name, ax, even=1.0)


FIGURE = Plot(
    plot=plot_discrepancy,
    reads={"ratio": ("step", "modality"), "score": ("step", "modality")},
    or_reads={"step_ratio": ("step", "modality"), "step_score": ("step", "modality")},
    answers="Wei et al., TPAMI 2024, Fig. 5 and 7b",
)
