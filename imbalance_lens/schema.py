"""The written schema of every result: reserved dimensions, units, attributes.

A result is an `xr.Dataset`. Every dimension has a coordinate; every variable says its `units`,
its `long_name` and the dotted path of its `formula`; missing means NaN; nothing depends on the
clock. The attributes of a dataset are text or numbers, so that each survives netCDF.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import SchemaError

if TYPE_CHECKING:
    import xarray as xr

SCHEMA_VERSION = "1"

DIMENSIONS = {
    "step": "optimizer step, counted from 0",
    "epoch": "pass over the training data, counted from 0",
    "modality": "one input stream of the model",
    "other": "the modality that `modality` is compared with",
    "layer": "dotted path of a module",
    "channel": "one channel of a layer, as 'layer:index'",
    "coalition": "the modalities that are present, joined by '+'; '' means none",
    "label": "class index",
    "example": "position in the order of the loader",
    "head": "what gave the logits: a modality, or 'joint'",
    "part": "which examples: 'train' or 'held_out'",
    "seed": "seed of one repetition",
    "threshold": "bound below which something counts as abnormal",
    "bound": "end of an interval: 'low' or 'high'",
    "value": "by what a set of modalities is valued",
    "draw": "one of several random exchanges of examples, counted from 0",
    "rate": "probability that a modality is missing",
    "bin": "upper edge of a range of confidences",
    "pattern": "the modalities that are right alone, joined by '+'; '' means none",
    "recipe": "label of one or more training remedies that go together",
    "metric": "what was measured of a training",
    "ratio": "discrepancy ratio of one modality to another",
    "plane": "input channel of a filter",
    "row": "place in a map or a filter, from the top",
    "column": "place in a map or a filter, from the left",
}
UNITS = frozenset({"1", "nat", "example", "logit", "s", "1/s", "byte", "class"})
JOINT = "joint"
"""Name on the `head` dimension of the model's own logits."""


def coalition_name(present: Collection[str], modalities: Sequence[str]) -> str:
    """Return the coordinate of a coalition, in the order of the modalities.

    Example:
        >>> coalition_name({"visual", "audio"}, ["audio", "visual"])
        'audio+visual'
    """
    return "+".join(name for name in modalities if name in present)


def variable(
    dims: Sequence[str], values: Any, *, units: str, long_name: str, formula: str
) -> xr.Variable:
    """Return a variable with the attributes that the schema asks for."""
    import xarray as xr

    attrs = {"units": units, "long_name": long_name, "formula": formula}
    return xr.Variable(tuple(dims), values, attrs)


def dataset(
    variables: Mapping[str, xr.Variable],
    coords: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    **notes: Any,
) -> xr.Dataset:
    """Return a validated dataset.

    Args:
        variables: made by `variable`.
        coords: one per dimension; a plain sequence belongs to the dimension of its own name.
        settings: what the result depends on besides model and data; kept as JSON.
        notes: further attributes; everything but text and numbers is kept as JSON.

    Raises:
        SchemaError: something is missing; the message lists all of it.
    """
    import xarray as xr

    from . import __version__

    attrs: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "imbalance_lens_version": __version__,
        "settings": to_json(settings),
    }
    attrs.update({name: _plain(value) for name, value in notes.items()})
    made = xr.Dataset(dict(variables), dict(coords), attrs)
    validate(made)
    return made


def validate(ds: xr.Dataset) -> None:
    """Check a dataset against the schema.

    Raises:
        SchemaError: what is wrong, all of it at once.
    """
    wrong = [f"attribute {name!r} is missing" for name in _REQUIRED if name not in ds.attrs]
    for name, value in ds.attrs.items():
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            wrong.append(f"attribute {name!r} is a {type(value).__name__}; use to_json")
    for dim in ds.dims:
        if dim not in DIMENSIONS:
            wrong.append(f"dimension {dim!r} is not reserved")
        if dim not in ds.coords:
            wrong.append(f"dimension {dim!r} has no coordinate")
    for name, values in ds.data_vars.items():
        unsaid = (a for a in ("units", "long_name", "formula") if not values.attrs.get(a))
        wrong += [f"variable {name!r} has no {attribute}" for attribute in unsaid]
        if values.attrs.get("units", "1") not in UNITS:
            wrong.append(f"variable {name!r} has unknown units {values.attrs['units']!r}")
        if values.dtype.kind not in "fiub":
            wrong.append(f"variable {name!r} has dtype {values.dtype}; use numbers")
    if wrong:
        raise SchemaError(f"The dataset breaks the schema: {'; '.join(wrong)}.")


def to_json(value: Any) -> str:
    """Return JSON text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, default=_jsonable)


def from_json(text: str) -> Any:
    """Return what `to_json` wrote."""
    return json.loads(text)


_REQUIRED = ("schema_version", "imbalance_lens_version", "settings")


def _plain(value: Any) -> str | int | float:
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if is_plain else to_json(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Collection):
        return list(value)
    return str(value)
