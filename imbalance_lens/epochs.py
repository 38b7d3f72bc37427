"""The answers of one probe for several states of a model, as one dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from . import schema
from .errors import SchemaError, SettingError

if TYPE_CHECKING:
    import xarray as xr


def over_epochs(datasets: Iterable[xr.Dataset], epochs: Sequence[int] | None = None) -> xr.Dataset:
    """Put what a probe answered for several states of a model side by side.

    For curves of what is measured of a frozen model, such as a linear probe of every epoch's
    checkpoint, and for figures of before and after. Works on datasets alone, without torch.

    Args:
        datasets: of one probe with one kind of settings, in the order of training: of
            `diagnose`, of `scan_checkpoint`, or of a file.
        epochs: of each. Default: counted from 0.

    Returns:
        The same variables over `epoch` and the dimensions that they have; NaN where a state does
        not have a layer, a channel or a class that others have. The attributes of the last.

    Raises:
        SettingError: no dataset, or something else, or not one epoch for each.
        SchemaError: the datasets do not have the same variables, or differ in their settings, or
            have epochs already.

    Example:
        >>> import torch
        >>> from imbalance_lens.probes._batchnorms import scan
        >>> from imbalance_lens.observation import BatchNormState
        >>> none, zeros = torch.empty(0), torch.zeros(2)
        >>> states = [BatchNormState(scale * torch.ones(2), zeros, none, none) for scale in (1, 0)]
        >>> found = over_epochs([scan({"bn": state}, [1e-10]) for state in states])
        >>> found["abnormal_ratio"].values.ravel()
        array([0., 1.])
    """
    import xarray as xr

    states = list(datasets)
    numbers = list(range(len(states))) if epochs is None else list(epochs)
    if not states or len(numbers) != len(states) or len(set(numbers)) < len(numbers):
        raise SettingError(
            "over_epochs takes one or more datasets and as many different epochs; got "
            f"{len(states)} and {numbers}."
        )
    wrong = next((type(ds).__name__ for ds in states if not isinstance(ds, xr.Dataset)), None)
    if wrong:
        raise SettingError(
            f"over_epochs takes a list of datasets, and got one with a {wrong} in it. Of reports, "
            "give the answers of one probe: report.tree['linear_probe'].to_dataset(), say."
        )
    first, last = states[0], states[-1]
    for place, ds in enumerate(states):
        if ds.sizes.get("epoch", 1) > 1:
            raise SchemaError(f"Dataset {place} has epochs already. Take one: ds.isel(epoch=[-1]).")
        if set(ds.data_vars) != set(first.data_vars):
            other = sorted(map(str, set(ds.data_vars) ^ set(first.data_vars)))
            raise SchemaError(
                f"Dataset {place} is not of the same probe as the first: only one of them has "
                f"{', '.join(other[:4])}."
            )
        if ds.attrs.get("settings") != first.attrs.get("settings"):
            raise SchemaError(
                f"Dataset {place} was made with the settings {ds.attrs.get('settings')}, the first "
                f"with {first.attrs.get('settings')}. Measure all states in the same way."
            )
    found = xr.concat(
        [ds.isel(epoch=0, drop=True) if "epoch" in ds.dims else ds for ds in states],
        dim=xr.Variable("epoch", numbers),
        data_vars="all",
        coords="minimal",
        compat="no_conflicts",
        join="outer",
        combine_attrs="override",
    ).assign_attrs(last.attrs)
    unsure = [name for name, values in found.data_vars.items() if values.dtype == object]
    found = found.assign({name: found[name].astype(float) for name in unsure})
    schema.validate(found)
    return found
