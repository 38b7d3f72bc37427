"""What the model says when modalities are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import schema
from ._base import Plot
from ._marks import bar, legend, level, name_ticks, reach, say_if_unknown
from ._style import Look, canvas, look, modalities, words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_SET = "accuracy"


def plot_zero_out(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the accuracy with each modality alone (full) and with it left out (pale).

    The dashed line is the accuracy with all of them, the dotted one that of always giving the
    most frequent answer.

    Args:
        ds: what the probe `zero_out` answers.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else.
    """
    FIGURE.check(ds)
    names = modalities(ds)
    errors = reach(ds, _SET)
    with canvas(ax) as ax:
        for place, name in enumerate(names):
            others = [other for other in names if other != name]
            drawn = {-0.2: ([name], 1.0, "alone"), 0.2: (others, 0.35, "left out")}
            for shift, (present, alpha, told) in drawn.items():
                at = ds.indexes["coalition"].get_loc(schema.coalition_name(present, names))
                own = None if errors is None else errors[:, at]
                bar(
                    ax,
                    place + shift,
                    float(ds[_SET][at]),
                    look(name, names),
                    own,
                    width=0.38,
                    alpha=alpha,
                )
                bar(ax, place, 0, Look("#555555"), alpha=alpha, label=told)
        everyone = schema.coalition_name(names, names)
        level(ax, float(ds[_SET].sel(coalition=everyone)), "all", joint=True)
        level(ax, float(ds["majority"]), "most frequent label")
        name_ticks(ax, names)
        ax.set_ylim(0, 1.03 * ax.get_ylim()[1])
        ax.set_ylabel(words(ds[_SET]))
        legend(ax)
        say_if_unknown(ax, ds[_SET])
    return ax


FIGURE = Plot(
    plot=plot_zero_out,
    reads={_SET: ("coalition",), "majority": ()},
    answers="Wei et al., TPAMI 2024, Sec. 4.3.7 (a table there)",
)
