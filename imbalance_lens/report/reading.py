"""Reading a report's tree: its attributes, and numbers, which are NaN where they are missing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import schema
from .findings import threshold

if TYPE_CHECKING:
    import xarray as xr


class Quantity(NamedTuple):
    """A number with an interval around it; NaN, which no comparison holds for, is not known."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether the number and its interval are there."""
        return not any(map(math.isnan, self))

    @property
    def reach(self) -> float:
        """The interval's largest distance from zero."""
        return max(-self.low, self.high)

    def as_found(self) -> dict[str, Any]:
        """Return what a finding keeps, with None for what is not known."""
        return {
            "value": self.value if math.isfinite(self.value) else None,
            "interval": (self.low, self.high) if self.known else None,
        }


def root(tree: xr.DataTree, attribute: str) -> Any:
    """Return a root attribute that is kept as JSON."""
    return schema.from_json(tree.attrs[attribute])


def modalities(tree: xr.DataTree) -> tuple[str, ...]:
    """Return the modalities, in the anatomy's order."""
    return tuple(root(tree, "anatomy")["modalities"])


def settings(ds: xr.Dataset) -> dict[str, Any]:
    """Return the settings of a probe."""
    return schema.from_json(ds.attrs["settings"])


def interval_name(ds: xr.Dataset) -> str:
    """Return what a probe's intervals are called."""
    level = settings(ds).get("confidence_level")
    return "interval" if level is None else f"{100 * level:.4g} % interval"


def measured(tree: xr.DataTree, probe: str, *variables: str) -> xr.Dataset | None:
    """Return a probe's dataset, or None unless it has all of the variables."""
    if probe not in tree.children:
        return None
    ds = tree[probe].to_dataset()
    return ds if all(name in ds for name in variables) else None


def number(ds: xr.Dataset, name: str, /, **at: Any) -> float:
    """Return one number; NaN where the coordinates do not have it."""
    found = ds[name]
    has = all(value in found[dim].values for dim, value in at.items())
    return float(found.sel(at)) if has else math.nan


def quantity(ds: xr.Dataset, name: str, /, **at: Any) -> Quantity:
    """Return one number with its interval.

    There is no interval where the examples are too few: resampling a handful of them makes it
    far too narrow.
    """
    value = number(ds, name, **at)
    if ds.attrs.get("examples", 0) < threshold("interval_examples"):
        return Quantity(value)
    ends = (number(ds, f"{name}_interval", bound=bound, **at) for bound in ("low", "high"))
    return Quantity(value, *ends)


def late(ds: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Return the mean over the last quarter of the epochs, and the words that say so.

    Early epochs say little; nothing is said where there is only one.
    """
    epochs = ds.sizes.get("epoch", 1)
    kept = math.ceil(epochs / 4)
    if "epoch" in ds.dims:
        ds = ds.isel(epoch=slice(epochs - kept, None)).mean("epoch", keep_attrs=True, skipna=False)
    return ds, "" if epochs == 1 else f" (mean of the last {kept} of {epochs} epochs)"
