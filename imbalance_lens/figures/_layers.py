"""One number per layer."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ._marks import bar, name_ticks
from ._style import NEUTRAL, look, modalities, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_BEHIND = " > "
"""Between a place and the function behind it, as the probe `dead_features` writes it."""
_MOST = 18
"""Letters that a name has room for."""


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
    name_ticks(ax, short_names(ds), slant=40)


def say_if_nothing(ax: Axes, values: xr.DataArray) -> None:
    """Say so where every bar is of height 0, which looks like no bar at all."""
    if values.size and (values.values == 0).all():
        at: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "color": NEUTRAL}
        ax.text(0.5, 0.5, "0 in every layer", **at)


def short_names(ds: xr.Dataset) -> list[str]:
    """Return the layers' names without what all layers of a modality begin and end with.

    Whose layer it is, its color says. Of what is still long, the end stays, which tells layers
    apart; where that alone would not, a name stays as it is.
    """
    groups: dict[str, list[str]] = {}
    layers = ds["layer"].values.tolist()
    owners = modality_of(ds, "layer")
    for owner, layer in zip(owners, layers, strict=True):
        groups.setdefault(owner, []).append(layer)
    told = {owner: dict(zip(own, _short(own), strict=True)) for owner, own in groups.items()}
    return [told[owner][layer] for owner, layer in zip(owners, layers, strict=True)]


def _short(names: list[str]) -> list[str]:
    functions = {name.partition(_BEHIND)[2] for name in names}
    plain = [name.partition(_BEHIND)[0] for name in names] if len(functions) == 1 else names
    levels = zip(*(name.split(".")[:-1] for name in plain), strict=False)
    shared = len(list(takewhile(lambda level: len(plain) > len(set(level)) == 1, levels)))
    bare = [_after(name, shared) for name in plain]
    if any(name.split(".")[0].isdecimal() for name in bare):
        # A number says little without what it is a part of, and nothing if it is all there is.
        parts = [_after(name, max(0, shared - 1)) for name in plain]
        if max(map(len, parts)) <= _MOST or any(name.isdecimal() for name in bare):
            bare = parts
    cut = [name if len(name) <= _MOST else f"...{name[3 - _MOST :]}" for name in bare]
    return cut if len(set(cut)) == len(cut) else bare


def _after(path: str, levels: int) -> str:
    return ".".join(path.split(".")[levels:])
