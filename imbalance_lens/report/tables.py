"""Datasets as long tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def tidy(ds: xr.Dataset) -> pd.DataFrame:
    """Return one row per number: its variable, its coordinates, its value.

    A coordinate that a variable does not have is missing (NA) in its rows. The coordinate `value`
    goes by the name of `valued_by`.
    """
    import pandas as pd

    ds = ds.rename({name: "valued_by" for name in ds.coords if name == "value"})
    parts = [_long(values).assign(variable=name) for name, values in ds.data_vars.items()]
    if not parts:
        return pd.DataFrame(columns=["variable", "value"])
    table = pd.concat(parts, ignore_index=True)
    labels = [str(name) for name in ds.coords if name in table.columns]
    table[labels] = table[labels].convert_dtypes()
    return table.reindex(columns=["variable", *labels, "value"])


def _long(values: xr.DataArray) -> pd.DataFrame:
    import pandas as pd

    if not values.dims:
        return pd.DataFrame({"value": [float(values)]})
    return values.astype(float).to_dataframe(name="value").reset_index()
