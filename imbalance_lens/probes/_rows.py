"""Numbers per example, for the answers that cannot be had from sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np


class Rows:
    """A table with one row per example, which stays on its device until it is read."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return sum(len(column) for part in self._parts for column in list(part.values())[:1])

    def append(self, **columns: Tensor) -> None:
        """Add the rows of one batch; a tensor that is not new must be cloned by the caller."""
        self._parts.append(columns)

    def extend(self, other: Rows) -> None:
        """Add the rows of another table, on the device of this one."""
        for part in other._parts:
            mine = self._parts[0] if self._parts else part
            self._parts.append({name: part[name].to(mine[name].device) for name in part})

    def on_host(self) -> dict[str, np.ndarray]:
        """Return the columns of all rows, each moved to the host in one copy."""
        joined = {name: torch.cat([part[name] for part in self._parts]) for name in self._parts[0]}
        # Kept joined, or a later call would need the memory of two tables again.
        self._parts = [joined]
        return {name: column.cpu().numpy() for name, column in joined.items()}
