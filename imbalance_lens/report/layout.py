"""What a report's tree must hold: attributes at the root, one dataset per probe below it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from .. import schema
from ..errors import SchemaError
from .reading import UNIMODAL_ACCURACY

if TYPE_CHECKING:
    import xarray as xr

_PLAIN: dict[str, type] = {
    "schema_version": str,
    "imbalance_lens_version": str,
    "torch_version": str,
    "model": str,
    "examples": int,
}
_JSON: dict[str, type] = {
    "anatomy": dict,
    "readout": dict,
    "skipped": dict,
    "notes": list,
    "settings": dict,
}


def made_tree(datasets: Mapping[str, xr.Dataset], **attributes: Any) -> xr.DataTree:
    """Return a checked tree: the datasets in the order of their names, the attributes as text."""
    import xarray as xr

    from .. import __version__

    root = xr.Dataset(
        attrs={
            "schema_version": schema.SCHEMA_VERSION,
            "imbalance_lens_version": __version__,
            **{
                name: schema.to_json(value) if name in _JSON else value
                for name, value in attributes.items()
            },
        }
    )
    groups = {name: datasets[name] for name in sorted(datasets)}
    tree = xr.DataTree.from_dict({"/": root, **groups})
    check(tree)
    return tree


def as_mapping(value: Any) -> dict[str, Any]:
    """Return a dataclass, a mapping or None as a dictionary, with None in place of NaN."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    return {
        name: None if isinstance(part, float) and math.isnan(part) else part
        for name, part in dict(value or {}).items()
    }


def check(tree: xr.DataTree, what: str = "The tree") -> None:
    """Complain about a tree that is no report, or that this version cannot read.

    Args:
        tree: to check.
        what: what it is called in the complaint.

    Raises:
        SchemaError: what is wrong.
    """
    version = tree.attrs.get("schema_version")
    if version is None or "imbalance_lens_version" not in tree.attrs:
        raise SchemaError(f"{what} names no version of imbalance-lens, so it is no report.")
    if not str(version).isdecimal():
        raise SchemaError(f"{what} has the schema version {version!r}, which is no number.")
    if int(version) > int(schema.SCHEMA_VERSION):
        raise SchemaError(
            f"{what} was written with schema {version}, and this version of imbalance-lens reads "
            f"up to {schema.SCHEMA_VERSION}. Update imbalance-lens."
        )
    wrong = [
        f"attribute {name!r} is no {kind.__name__}"
        for name, kind in {**_PLAIN, **_JSON}.items()
        if type(_read(tree.attrs, name)) is not kind
    ]
    if not wrong and not _two_names(_read(tree.attrs, "anatomy").get("modalities")):
        wrong = ["the anatomy does not name two or more modalities"]
    if not wrong and not _shares(
        _read(tree.attrs, "settings").get(UNIMODAL_ACCURACY, {}),
        _read(tree.attrs, "anatomy")["modalities"],
    ):
        wrong = [f"the setting {UNIMODAL_ACCURACY!r} must give modalities a number from 0 to 1"]
    for probe, group in tree.children.items():
        try:
            schema.validate(group.to_dataset())
        except SchemaError as error:
            wrong.append(f"{probe}: {error}")
        if not isinstance(_read(group.attrs, "settings"), dict):
            wrong.append(f"the settings of {probe} are no JSON")
    if wrong:
        raise SchemaError(f"{what} is no complete report: {'; '.join(wrong)}")


def _read(attrs: Mapping[Any, Any], name: str) -> Any:
    """Return a root attribute as it is meant; None where it is missing or no JSON."""
    value = attrs.get(name)
    if name not in _JSON:
        return value
    try:
        return schema.from_json(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return None


def _shares(given: Any, names: list[str]) -> bool:
    return isinstance(given, dict) and all(
        name in names and isinstance(share, int | float) and 0 <= share <= 1
        for name, share in given.items()
    )


def _two_names(names: Any) -> bool:
    return (
        isinstance(names, list)
        and len(set(map(str, names))) == len(names) > 1
        and all(isinstance(name, str) for name in names)
    )
