"""A table that keeps no more than so many rows, drawn by chance and the same each time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Sample:
    """Rows of at most `most` examples, which stay on their device until they are read.

    Each example gets a random number as it comes, and those with the smallest numbers stay. So
    every example is as likely to stay as any other, whichever order the classes come in, and how
    the examples are split into batches changes nothing.

    Args:
        most: how many rows stay; a quarter more are held until they are sorted out.
        seed: of the random numbers.

    Attributes:
        shown: how many rows came.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._chance = np.random.default_rng(seed)
        self._limit = np.inf
        self._parts: list[tuple[np.ndarray, dict[str, Tensor]]] = []
        self.shown = 0

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._parts)

    def append(self, **columns: Tensor) -> None:
        """Add the rows of one batch; a tensor that is not new must be cloned by the caller."""
        rows = len(next(iter(columns.values())))
        self.shown += rows
        self._add(self._chance.random(rows), columns)

    def extend(self, other: Sample) -> None:
        """Add the rows of another table, on the device of this one."""
        self.shown += other.shown
        for keys, columns in other._parts:
            mine = self._parts[0][1] if self._parts else columns
            moved = {name: column.to(mine[name].device) for name, column in columns.items()}
            self._add(keys, moved)

    def on_host(self) -> dict[str, np.ndarray]:
        """Return the columns of the rows that stay, each moved to the host in one copy."""
        self._sort_out()
        keys = np.concatenate([keys for keys, _ in self._parts])
        tables = [columns for _, columns in self._parts]
        joined = {name: torch.cat([table[name] for table in tables]) for name in tables[0]}
        # Kept joined, or a later call would need the memory of two tables again.
        self._parts = [(keys, joined)]
        return {name: column.cpu().numpy() for name, column in joined.items()}

    def _add(self, keys: np.ndarray, columns: dict[str, Tensor]) -> None:
        self._parts.append(_below(self._limit, keys, columns))
        if len(self) > self._most + self._most // 4:
            self._sort_out()

    def _sort_out(self) -> None:
        if len(self) > self._most:
            everyone = np.concatenate([keys for keys, _ in self._parts])
            self._limit = np.partition(everyone, self._most)[self._most]
            self._parts = [_below(self._limit, *part) for part in self._parts]


def _below(
    limit: float, keys: np.ndarray, columns: dict[str, Tensor]
) -> tuple[np.ndarray, dict[str, Tensor]]:
    stay = np.flatnonzero(keys < limit)
    if len(stay) == len(keys):
        return keys, columns
    rows = torch.from_numpy(stay)
    return keys[stay], {
        name: column.index_select(0, rows.to(column.device, non_blocking=True))
        for name, column in columns.items()
    }
