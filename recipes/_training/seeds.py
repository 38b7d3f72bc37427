"""Training from a seed without touching the random state of the process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from imbalance_lens.hooks.frozen import random_state_kept


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let everything random in the block follow from a seed."""
    with random_state_kept():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - data sets and transforms use the global one
        torch.manual_seed(seed)
        yield
