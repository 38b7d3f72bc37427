"""What one setting of a recipe does to the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import schema
from ..errors import SchemaError
from ._base import Plot
from ._marks import curve, legend, level, say_if_unknown
from ._style import Look, canvas, metric_label, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_VALUE = "value"
_COLOR = "#0072B2"


class Sweep(NamedTuple):
    """Recipes that differ in one number only."""

    setting: str
    values: Mapping[str, float]
    """Label of a recipe -> its number."""


def plot_sensitivity(ds: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean of a metric against the one setting that varies, with its deviation over seeds.

    Of several metrics the first is drawn: keep another with `ds.sel(metric=["macro_f1"])`. The
    dotted line is the mean of what the others are compared with.

    Args:
        ds: that of what `recipes.compare` returns for one recipe with several values of a setting.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SchemaError: the dataset is of something else, or no single number varies.
    """
    FIGURE.check(ds)
    sweep = _sweep(ds)
    if sweep is None:
        raise SchemaError(
            "plot_sensitivity draws recipes that differ in one numeric setting only. Compare, say, "
            "{'low': ('ogm_ge', {'alpha': 0.1}), 'high': ('ogm_ge', {'alpha': 0.9})}."
        )
    values = ds[_VALUE].isel(metric=0)
    labels = sorted(sweep.values, key=sweep.values.__getitem__)
    x = np.array([sweep.values[label] for label in labels])
    rows = [_known(values.sel(recipe=label).values) for label in labels]
    means = np.array([row.mean() if len(row) else np.nan for row in rows])
    spread = np.array([row.std(ddof=1) if len(row) > 1 else 0.0 for row in rows])
    with canvas(ax) as ax:
        curve(ax, x, means, Look(_COLOR), np.stack([spread, spread]), label="mean and deviation")
        for place, row in zip(x, rows, strict=True):
            ax.plot([place] * len(row), row, ".", color="#333333", markersize=3)
        baseline = _known(values.sel(recipe=ds.attrs["baseline"]).values)
        level(ax, baseline.mean() if len(baseline) else np.nan, shown(ds.attrs["baseline"]))
        ax.set_xlabel(shown(sweep.setting))
        ax.set_ylabel(metric_label(values["metric"].item()))
        legend(ax)
        say_if_unknown(ax, values)
    return ax


def _sweep(ds: xr.Dataset) -> Sweep | None:
    """Return the setting that varies, or None unless it is one, and a number."""
    described = schema.from_json(ds.attrs.get("settings", "{}"))
    flat = {
        label: {
            f"{recipe['recipe']}.{name}": value
            for recipe in described.get(label, [])
            for name, value in recipe["settings"].items()
        }
        for label in ds["recipe"].values.tolist()
        if label != ds.attrs.get("baseline")
    }
    if len(flat) < 2 or len({tuple(settings) for settings in flat.values()}) > 1:
        return None
    names = next(iter(flat.values()))
    varied = [name for name in names if len({str(of[name]) for of in flat.values()}) > 1]
    numbers = {label: of[varied[0]] for label, of in flat.items()} if len(varied) == 1 else {}
    if not numbers or not all(map(_is_number, numbers.values())):
        return None
    return Sweep(varied[0], numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _known(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


FIGURE = Plot(
    plot=plot_sensitivity,
    reads={_VALUE: ("recipe", "seed", "metric")},
    suits=lambda ds: _sweep(ds) is not None,
    answers="Wei et al., TPAMI 2024, and ABRi/FusT (sweeps of hyper-parameters)",
)
