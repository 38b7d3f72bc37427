"""A report in a file: its tree, which can be read back, and its page."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import checks
from ..errors import SchemaError
from ..files import replacing
from .layout import check

if TYPE_CHECKING:
    import xarray as xr

_ENGINE = "h5netcdf"


def write_tree(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a tree as netCDF, or leave what was there before.

    Raises:
        OSError: the file cannot be written.
        SchemaError: something in the tree has no place in netCDF.
        SettingError: `path` is none.
    """
    try:
        # In memory, so that a full disk meets plain writing and not the inside of HDF5.
        content = bytes(tree.to_netcdf(engine=_ENGINE))
    except (TypeError, ValueError) as error:
        raise SchemaError(f"The report cannot be stored as netCDF: {error}") from error
    checks.file("path", path)
    with replacing(path) as draft:
        draft.write_bytes(content)


def write_page(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page of HTML, or leave what was there before.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as draft:
        draft.write_text(page, encoding="utf-8", newline="\n")


def read_tree(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a checked tree into memory; nothing stays open.

    Raises:
        SchemaError: it cannot be read, or is no report.
        SettingError: `path` is none.
    """
    import xarray as xr

    checks.file("path", path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SchemaError(f"{path} cannot be read as a report ({error.strerror}).") from error
    try:
        with xr.open_datatree(io.BytesIO(content), engine=_ENGINE, decode_times=False) as stored:
            # One by one: the tree's own load() leaves out variables that are named like a group.
            plain = {node.path: _plain(node.to_dataset().load()) for node in stored.subtree}
    except Exception as error:  # damaged HDF5 raises almost anything
        raise SchemaError(f"{path} is no netCDF file, or a damaged one ({error}).") from error
    tree = xr.DataTree.from_dict(plain)
    check(tree, str(path))
    return tree


def _plain(ds: xr.Dataset) -> xr.Dataset:
    """Return the dataset with types as before it was stored."""
    ds = ds.drop_encoding()
    for part in (ds, *ds.variables.values()):
        part.attrs = {name: _python(value) for name, value in part.attrs.items()}
    return ds


def _python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value  # a number of numpy's
