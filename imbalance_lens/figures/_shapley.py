"""What the figures on contributions have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import schema

if TYPE_CHECKING:
    import xarray as xr


def first_value(ds: xr.Dataset) -> xr.Dataset:
    """Return the contributions by the first of the values that were asked for."""
    return ds.isel(value=0)


def what_is_shared(ds: xr.Dataset) -> str:
    """Return the words for what the contributions add up to."""
    value = str(ds["value"].values[0])
    return schema.from_json(ds.attrs["described"])[value]
