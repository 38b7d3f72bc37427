"""One number per layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._marks import bar, name_ticks
from ._style import look, modalities, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def modality_of(ds: xr.Dataset, dim: str) -> list[str]:
    """Return the modality that each entry belongs to; "" where that is not known."""
    if "modality" not in ds.coords or ds["modality"].dims != (dim,):
        return [""] * ds.sizes[dim]
    return ds["modality"].values.tolist()


def layer_bars(ax: Axes, ds: xr.Dataset, values: xr.DataArray, **settings: Any) -> None:
    """Draw a bar per layer in the color of its modality.

    Args:
        ax: where to draw.
        ds: says which layers there are, and whose.
        values: one number per layer.
        settings: of the bars.
    """
    names = modalities(ds)
    for place, name in enumerate(modality_of(ds, "layer")):
        told = {"label": shown(name)} if name and "label" not in settings else {}
        bar(ax, place, float(values[place]), look(name, names), width=0.8, **told, **settings)
    name_ticks(ax, ds["layer"].values.tolist(), slant=40)
