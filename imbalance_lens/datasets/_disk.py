"""The folder that holds the data, and the complaints about what is in it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError

VARIABLE = "IMBALANCE_LENS_DATA"


def data_folder(root: str | os.PathLike[str] | None) -> Path:
    """Return the folder that `root`, or else the environment variable, names."""
    given = root if root is not None else os.environ.get(VARIABLE)
    if not given:
        raise DataError(
            "AVMNIST reads real data and was not told where it is. Pass root=... or set the "
            f"environment variable {VARIABLE} to the folder; with download=True it is filled."
        )
    return Path(given).expanduser()


def missing(path: Path, what: str) -> DataError:
    """Word the complaint about data that is not there."""
    return DataError(
        f"{path} does not exist; {what} should be there. Put it there, pass the right root=..., "
        "or fetch it with download=True."
    )


def unusable(path: Path, why: object) -> DataError:
    """Word the complaint about a file or folder that is there and cannot be used."""
    return DataError(
        f"{path} cannot be used: {why}. Put a sound copy there, or delete all of that data set and "
        "fetch it again with download=True."
    )
