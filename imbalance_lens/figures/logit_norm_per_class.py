"""How large the modalities' logits are, class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import legend, say_if_unknown
from ._per_class import per_class
from ._style import DOUBLE, canvas, modalities, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_CLASS = "norm"


def plot_logit_norm_per_class(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean length of each head's logits on each class, in the last epoch.

    Args:
        ds: what the probe `logit_norm` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    last = ds[_CLASS].isel(epoch=-1)
    with canvas(ax, DOUBLE) as ax:
        heads = {head: last.sel(head=head) for head in ds["head"].values.tolist()}
        per_class(ax, heads, modalities(ds))
        ax.set_ylabel(words(last))
        legend(ax)
        say_if_unknown(ax, last)
    return ax


FIGURE = Plot(
    plot=plot_logit_norm_per_class,
    reads={_CLASS: ("epoch", "head", "label")},
    answers="OLM, Fig. 1, 5 and 6 (class by class)",
)
