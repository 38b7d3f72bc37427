"""What becomes of the accuracy as modalities go missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Plot
from ._marks import curve, legend, reach, say_if_unknown
from ._style import JOINT_COLOR, Look, canvas, look, modalities, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_OWN, _ALL = "accuracy", "all_accuracy"


def plot_missing_modality(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the accuracy as one modality, or each of them, goes missing more and more often.

    Args:
        ds: what the probe `missing_modality` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names, rates = modalities(ds), ds["rate"].values
    errors, of_all = reach(ds, _OWN), reach(ds, _ALL)
    with canvas(ax) as ax:
        for row, name in enumerate(ds["modality"].values.tolist()):
            own = None if errors is None else errors[:, row]
            values = ds[_OWN].sel(modality=name).values
            curve(ax, rates, values, look(name, names), own, label=f"{shown(name)} missing")
        curve(ax, rates, ds[_ALL].values, Look(JOINT_COLOR, "--"), of_all, label="each missing")
        ax.set_xlabel("Probability that it is missing")
        ax.set_ylabel("Accuracy")
        ax.set_ylim(bottom=0)
        legend(ax)
        say_if_unknown(ax, ds[_OWN], ds[_ALL])
    return ax


FIGURE = Plot(
    plot=plot_missing_modality,
    reads={_OWN: ("modality", "rate"), _ALL: ("rate",)},
    answers="Wei et al., TPAMI 2024, Fig. 6",
)
