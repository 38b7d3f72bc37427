"""What every figure says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SchemaError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

Reads = Mapping[str, tuple[str, ...]]
"""Variables by name, with their dimensions."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure: what it draws, and what it needs for that.

    Args:
        plot: draws a dataset on axes and returns them.
        reads: what must be there.
        or_reads: what will do instead.
        also: what is drawn too where it is there; intervals are, without being named.
        suits: whether a dataset that has all that is what is meant.
        several: dimensions along which one entry is not enough.
        shows: the part of a dataset that is drawn of it.
        answers: the figures in papers that show the same.
    """

    plot: Callable[..., Axes]
    reads: Reads
    or_reads: Reads = field(default_factory=dict)
    also: tuple[str, ...] = ()
    suits: Callable[[xr.Dataset], bool] = lambda _: True
    several: tuple[str, ...] = ()
    shows: Callable[[xr.Dataset], xr.Dataset] = lambda ds: ds
    answers: str

    def fits(self, ds: xr.Dataset) -> bool:
        """Say whether a dataset has what the figure shows, and a number in what it shows first."""
        reads = self._found(ds)
        if reads is None or any(ds.sizes[dim] < 2 for dim in self.several) or not self.suits(ds):
            return False
        return bool(np.isfinite(ds[next(iter(reads))].values.astype(float)).any())

    def numbers(self, ds: xr.Dataset) -> xr.Dataset:
        """Return the part of a dataset that the figure shows.

        Raises:
            SchemaError: it is not there.
        """
        names = [*self.check(ds), *self.also]
        wanted = [name for own in names for name in (own, f"{own}_interval")]
        return self.shows(ds[[name for name in wanted if name in ds]])

    def check(self, ds: xr.Dataset) -> list[str]:
        """Return the variables that the figure is drawn from.

        Raises:
            SchemaError: the dataset does not have them.
        """
        found = self._found(ds)
        if found is None:
            asked = [_listed(reads) for reads in (self.reads, self.or_reads) if reads]
            raise SchemaError(
                f"{self.plot.__name__} reads {' or '.join(asked)}; the dataset has "
                f"{_listed({str(n): _dims(v) for n, v in ds.data_vars.items()}) or 'nothing'}."
            )
        return list(found)

    def _found(self, ds: xr.Dataset) -> Reads | None:
        for reads in filter(None, (self.reads, self.or_reads)):
            if all(n in ds.data_vars and _dims(ds[n]) == dims for n, dims in reads.items()):
                return reads
        return None


def _dims(values: xr.DataArray) -> tuple[str, ...]:
    return tuple(map(str, values.dims))


def _listed(reads: Reads) -> str:
    return ", ".join(f"{name}({', '.join(dims)})" for name, dims in reads.items())
