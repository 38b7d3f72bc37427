"""The numbers behind a report, as tables that people read: what stands in which row and column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import schema
from .words import NOT_KNOWN, few, shown

if TYPE_CHECKING:
    import xarray as xr


class Cell(NamedTuple):
    """A number in words, and the ends of its interval where it has one."""

    text: str
    ends: str = ""


class Row(NamedTuple):
    """What a row is called, in as many cells as the table has titles for, and its numbers."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        caption: what its numbers are.
        titles: of the columns that name the rows.
        columns: of the columns with numbers.
        rows: from top to bottom.
        alike: whether the rows are entries of one kind, which can be put in another order.
    """

    caption: str
    titles: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    alike: bool = True


@dataclass(frozen=True)
class Evidence:
    """The tables of one probe.

    Attributes:
        probe: its name.
        sheets: the tables, overall numbers first.
        legend: what the dimensions mean.
    """

    probe: str
    sheets: tuple[Sheet, ...]
    legend: str


def evidence(tree: xr.DataTree, room: int) -> tuple[Evidence, ...]:
    """Return the tables of every probe.

    Args:
        tree: of a report.
        room: about how many numbers may be shown in all. A table that has more than its part is
            summed up over its longest dimensions: mean, lowest, highest.
    """
    datasets = {str(name): group.to_dataset() for name, group in tree.children.items()}
    shares = _shares(datasets, room)
    return tuple(
        Evidence(shown(probe), tuple(_sheets(ds, shares)), _legend(ds))
        for probe, ds in datasets.items()
    )


class _Quantity(NamedTuple):
    """A variable without its dimensions of one entry, with the ends of its interval."""

    values: xr.DataArray
    low: xr.DataArray | None
    high: xr.DataArray | None
    where: str

    @property
    def title(self) -> str:
        units = self.values.attrs["units"]
        return shown(self.values.attrs["long_name"]) + ("" if units in _NO_UNITS else f" ({units})")

    @property
    def size(self) -> int:
        return self.values.size * (1 if self.low is None else 3)

    def in_order(self, *dims: Any) -> _Quantity:
        low, high = (
            None if ends is None else ends.transpose(*dims) for ends in (self.low, self.high)
        )
        return _Quantity(self.values.transpose(*dims), low, high, self.where)


_NO_UNITS = ("1", "example", "class")
"""Units of shares and counts, whose names say what is counted."""


def _shares(datasets: dict[str, xr.Dataset], room: int) -> int:
    """Return how many numbers one quantity may show, so that all fit into the room."""
    sizes = sorted(q.size for ds in datasets.values() for q in _quantities(ds))
    for place, size in enumerate(sizes):
        share = room // (len(sizes) - place)
        if size > share:
            return max(share, 1)
        room -= size
    return max(sizes, default=1)


def _quantities(ds: xr.Dataset) -> Iterator[_Quantity]:
    for name, values in ds.data_vars.items():
        base = str(name).removesuffix(_ENDS)
        if base != name and base in ds:
            continue
        single = [dim for dim in values.dims if values.sizes[dim] == 1]
        where = ", ".join(f"{dim} {_named(values[dim].values[0])}" for dim in single)
        ends = ds.get(f"{name}{_ENDS}")
        low, high = (
            None if ends is None else ends.sel(bound=bound).squeeze(single)
            for bound in ("low", "high")
        )
        yield _Quantity(values.squeeze(single), low, high, where)


_ENDS = "_interval"


def _sheets(ds: xr.Dataset, most: int) -> Iterator[Sheet]:
    """Return first the numbers over no or one dimension, side by side, then the others."""
    groups: dict[tuple[Any, str], list[_Quantity]] = {}
    others = []
    for quantity in _quantities(ds):
        if quantity.size > most:
            others.append(_summed_up(quantity, most))
        elif quantity.values.ndim < 2:
            groups.setdefault((quantity.values.dims, quantity.where), []).append(quantity)
        else:
            others.append(_spread_out(quantity))
    for (dims, where), quantities in sorted(groups.items(), key=lambda group: len(group[0][0])):
        yield _side_by_side(quantities, dims[0] if dims else None, where)
    yield from others


def _side_by_side(quantities: Sequence[_Quantity], dim: Any, where: str) -> Sheet:
    """Return numbers over the same dimension; a short one makes columns, a long one rows."""
    if dim is None:
        rows = tuple(Row((q.title,), (_cell(q, ()),)) for q in quantities)
        return Sheet(_caption("Overall", where), ("quantity",), ("value",), rows, alike=False)
    first = quantities[0].values
    caption, size = _caption(f"By {dim}", where), first.sizes[dim]
    if size <= _FEW and not _about(first, dim):
        columns = tuple(_named(value) for value in first[dim].values)
        rows = tuple(
            Row((q.title,), tuple(_cell(q, (at,)) for at in range(size))) for q in quantities
        )
        return Sheet(caption, ("quantity",), columns, rows, alike=False)
    titles, names = _row_names(first, (dim,))
    rows = tuple(
        Row(name, tuple(_cell(q, (at,)) for q in quantities)) for at, name in enumerate(names)
    )
    return Sheet(caption, titles, tuple(q.title for q in quantities), rows)


_FEW = 8
"""So many columns still fit beside each other."""


def _spread_out(quantity: _Quantity) -> Sheet:
    """Return numbers over several dimensions: the shortest makes columns, the others rows."""
    values = quantity.values
    short = [dim for dim in values.dims if values.sizes[dim] <= _FEW and not _about(values, dim)]
    caption = _caption(quantity.title, quantity.where)
    if not short:
        titles, names = _row_names(values, values.dims)
        places = product(*map(range, values.shape))
        rows = zip(names, places, strict=True)
        lines = tuple(Row(name, (_cell(quantity, place),)) for name, place in rows)
        return Sheet(caption, titles, ("value",), lines)
    across = min(reversed(short), key=lambda dim: values.sizes[dim])
    down = tuple(dim for dim in values.dims if dim != across)
    turned = quantity.in_order(*down, across)
    titles, names = _row_names(values, down)
    columns = tuple(_named(value) for value in values[across].values)
    places = product(*(range(values.sizes[dim]) for dim in down))
    rows = tuple(
        Row(name, tuple(_cell(turned, (*place, at)) for at in range(len(columns))))
        for name, place in zip(names, places, strict=True)
    )
    return Sheet(caption, titles, columns, rows)


def _summed_up(quantity: _Quantity, most: int) -> Sheet:
    """Return mean, lowest and highest over the longest dimensions, as few of them as will do."""
    values = quantity.values.astype(float)
    over: list[Any] = []
    while (left := _shape(values, over)) and math.prod(left.values()) * len(_SUMS) > most:
        over.append(max(left, key=left.__getitem__))
    down = tuple(left)
    sums = [getattr(values, how)(over).transpose(*down).values for how in _SUMS.values()]
    titles, names = _row_names(values, down)
    places = product(*(range(size) for size in left.values()))
    rows = tuple(
        Row(name or ("all",), tuple(Cell(_number(part[place])) for part in sums))
        for name, place in zip(names, places, strict=True)
    )
    among = " and ".join(f"{values.sizes[dim]:,} entries of {dim}" for dim in over)
    caption = _caption(f"{quantity.title}: over the {among}", quantity.where)
    return Sheet(caption, titles or ("",), tuple(_SUMS), rows)


_SUMS = {"mean": "mean", "lowest": "min", "highest": "max"}


def _shape(values: xr.DataArray, without: Sequence[Any]) -> dict[Any, int]:
    return {dim: values.sizes[dim] for dim in values.dims if dim not in without}


def _row_names(
    values: xr.DataArray, dims: Sequence[Any]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the titles of the columns that name the rows, and the names of each row."""
    about = {dim: _about(values, dim) for dim in dims}
    titles = tuple(shown(str(name)) for dim in dims for name in (dim, *about[dim]))
    parts = [
        [
            tuple(_named(values[name].values[at]) for name in (dim, *about[dim]))
            for at in range(values.sizes[dim])
        ]
        for dim in dims
    ]
    return titles, [sum(names, ()) for names in product(*parts)]


def _about(values: xr.DataArray, dim: Any) -> tuple[str, ...]:
    """Return the coordinates that say more on the entries of a dimension, as a layer's owner."""
    return tuple(str(n) for n, c in values.coords.items() if c.dims == (dim,) and n != dim)


def _cell(quantity: _Quantity, place: tuple[int, ...]) -> Cell:
    text = _number(quantity.values.values[place])
    if text == NOT_KNOWN or quantity.low is None or quantity.high is None:
        return Cell(text)
    low, high = (float(ends.values[place]) for ends in (quantity.low, quantity.high))
    return Cell(text, "" if math.isnan(low + high) else f"{_number(low)} to {_number(high)}")


def _number(value: Any) -> str:
    kind = value.dtype.kind if hasattr(value, "dtype") else "f"
    if kind == "b":
        return "yes" if value else "no"
    if kind in "iu":
        return f"{value:,}"
    return NOT_KNOWN if math.isnan(value) else f"{value + 0.0:.4g}"


def _named(value: Any) -> str:
    """Return an entry of a coordinate; the empty set of modalities has a name here."""
    if hasattr(value, "dtype") and value.dtype.kind == "f":
        return few(float(value))
    return shown(str(value)) or "(none)"


def _caption(what: str, where: str) -> str:
    said = f"{what}, {where}" if where else what
    return said[:1].upper() + said[1:]


def _legend(ds: xr.Dataset) -> str:
    return "; ".join(
        f"{dim}: {schema.DIMENSIONS[str(dim)]}" for dim in ds.dims if dim not in _PLAIN
    )


_PLAIN = ("bound",)
"""Dimensions that no table shows."""
