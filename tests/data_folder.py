"""Where the real data lies; tests that need it skip where it is absent."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("IMBALANCE_LENS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def require(name: str) -> Path:
    """Return the path of a file or folder of the real data, or skip the test."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not in {FOLDER}; set IMBALANCE_LENS_DATA to the folder of the data")
    return path
