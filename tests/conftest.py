"""What every test needs: the same numbers on every machine, and no window."""

import os
import sys
from collections.abc import Iterator

# Read once, when torch and matplotlib are first imported, so they are set before either is.
# One thread: how a sum is split over threads changes its last bits from machine to machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

settings.register_profile("here", deadline=None)
# The same examples in every run, so that a red check means a change and not a new example.
settings.register_profile("ci", deadline=None, max_examples=30, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(autouse=True)
def fresh_start() -> Iterator[None]:
    """Make a test's answer independent of the tests before it."""
    import torch

    torch.manual_seed(0)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
