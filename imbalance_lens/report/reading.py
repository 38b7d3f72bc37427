"""Reading a report's tree: its attributes, and numbers, which are NaN where they are missing."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import schema
from .findings import threshold
from .words import count, filled, points, span

if TYPE_CHECKING:
    import xarray as xr

TRAINING_EXAMPLES = "training_examples"
"""What every diagnosis has among its settings; a report without it is of a running training."""

LEFT_IN = "left_in"
"""The setting that names the modalities which keep some signal when they are left out."""

UNIMODAL_ACCURACY = "unimodal_accuracy"
"""The setting of a report that holds, by modality, what a model trained on it alone gets right."""


class Quantity(NamedTuple):
    """A number with an interval around it; NaN, which no comparison holds for, is not known."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether the number and its interval are there."""
        return not any(map(math.isnan, self))

    @property
    def reach(self) -> float:
        """The interval's largest distance from zero."""
        return max(-self.low, self.high)

    def as_found(self) -> dict[str, Any]:
        """Return what a finding keeps, with None for what is not known."""
        return {
            "value": self.value if math.isfinite(self.value) else None,
            "interval": (self.low, self.high) if self.known else None,
        }

    def in_points(self, interval: str) -> str:
        """Return the number in words, with its interval if that is known.

        Args:
            interval: what it is called.
        """
        size = points(self.value)
        return f"{size} ({interval} {span(self.low, self.high)})" if self.known else size


def root(tree: xr.DataTree, attribute: str) -> Any:
    """Return a root attribute that is kept as JSON."""
    return schema.from_json(tree.attrs[attribute])


def modalities(tree: xr.DataTree) -> tuple[str, ...]:
    """Return the modalities, in the anatomy's order."""
    return tuple(root(tree, "anatomy")["modalities"])


def unimodal_accuracy(tree: xr.DataTree) -> dict[str, float]:
    """Return the accuracies of models of one modality alone, as far as the report was told any."""
    return root(tree, "settings").get(UNIMODAL_ACCURACY, {})


def left_in(tree: xr.DataTree) -> list[str]:
    """Return the modalities that keep some signal when they are left out."""
    return root(tree, "settings").get(LEFT_IN, [])


def settings(ds: xr.Dataset) -> dict[str, Any]:
    """Return the settings of a probe."""
    return schema.from_json(ds.attrs["settings"])


def interval_name(ds: xr.Dataset) -> str:
    """Return what a probe's intervals are called."""
    level = settings(ds).get("confidence_level")
    return "interval" if level is None else f"{100 * level:.4g} % interval"


def answered(tree: xr.DataTree, probe: str, *variables: str) -> xr.Dataset | None:
    """Return a probe's dataset with all of its epochs, or None unless it has the variables."""
    if probe not in tree.children:
        return None
    ds = tree[probe].to_dataset()
    return ds if all(name in ds for name in variables) else None


def measured(tree: xr.DataTree, probe: str, *variables: str) -> xr.Dataset | None:
    """Return a probe's dataset, or None unless it has all of the variables.

    Of several epochs it is the mean over the last quarter: early ones say little.
    """
    ds = answered(tree, probe, *variables)
    if ds is None or "epoch" not in ds.dims:
        return ds
    late = slice(-_late(ds.sizes["epoch"]), None)
    wanted = [name for variable in variables for name in (variable, f"{variable}_interval")]
    kept = ds.isel(epoch=late)[[name for name in wanted if name in ds]]
    return kept.mean([dim for dim in kept.dims if dim == "epoch"], keep_attrs=True, skipna=False)


def judged_epochs(tree: xr.DataTree, probe: str) -> str:
    """Return the words on which epochs `measured` takes; nothing where there is only one."""
    epochs = 1 if probe not in tree.children else tree[probe].sizes.get("epoch", 1)
    return "" if epochs == 1 else f"mean of the last {_late(epochs)} of {epochs} epochs"


def is_of_training(tree: xr.DataTree) -> bool:
    """Say whether the numbers are of a running training, not of a diagnosis."""
    return TRAINING_EXAMPLES not in root(tree, "settings")


def late_steps(tree: xr.DataTree, ds: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Return the last quarter of the steps of a training, and the words that say so.

    The batches of a diagnosis are steps too, but all of one model: they are all kept.
    """
    if not is_of_training(tree):
        return ds, ""
    steps = ds.sizes["step"]
    kept = _late(steps)
    return ds.isel(step=slice(-kept, None)), f"the last {kept} of {steps} steps"


def number(ds: xr.Dataset, name: str, /, **at: Any) -> float:
    """Return one number; NaN where the coordinates do not have it."""
    found = ds[name]
    has = all(value in found[dim].values for dim, value in at.items())
    return float(found.sel(at)) if has else math.nan


def quantity(ds: xr.Dataset, name: str, /, **at: Any) -> Quantity:
    """Return one number with its interval, if there is one and the examples are enough for it."""
    value = number(ds, name, **at)
    if not _has_interval(ds, name):
        return Quantity(value)
    ends = (number(ds, f"{name}_interval", bound=bound, **at) for bound in ("low", "high"))
    return Quantity(value, *ends)


def pairs(
    ds: xr.Dataset, name: str, names: Sequence[str], /, **at: Any
) -> dict[tuple[str, str], Quantity]:
    """Return the quantity of each ordered pair of modalities, all read at once."""
    where = {"modality": list(names), "other": list(names)}
    parts = [ds[name]]
    if _has_interval(ds, name):
        ends = ds[f"{name}_interval"]
        parts += [ends.sel(bound=bound) for bound in ("low", "high")]
    order = ("modality", "other")
    tables = [part.sel(at).reindex(where).transpose(*order).values for part in parts]
    return {
        (one, other): Quantity(*(float(table[row, column]) for table in tables))
        for row, one in enumerate(names)
        for column, other in enumerate(names)
        if one != other
    }


def lost_by_filling(tree: xr.DataTree, *sets: Collection[str]) -> int:
    """Return of how many examples the fill takes the finite logits away.

    Args:
        tree: of a report.
        sets: the modalities that stay, in each set to look at; the worst one counts.
    """
    ds = measured(tree, "zero_out", "nonfinite")
    if ds is None:
        return 0
    names = modalities(tree)
    everyone, *counts = (
        number(ds, "nonfinite", coalition=schema.coalition_name(present, names))
        for present in (names, *sets)
    )
    return max(math.ceil(counted - everyone) for counted in counts if not math.isnan(counted))


def alone_and_without(names: Sequence[str], name: str) -> list[set[str]]:
    """Return the two sets of modalities by which one of them is judged."""
    return [{name}, {*names} - {name}]


def why_lost(tree: xr.DataTree, lost: int) -> str:
    """Return the words on logits that a fill has made unreadable.

    Args:
        tree: of a report.
        lost: of how many examples.
    """
    ds = tree["zero_out"].to_dataset()
    return (
        f"with features {filled(settings(ds).get('fill', 'zero'))}, the logits of {lost:,} of "
        f"{count(ds.attrs['examples'], 'example')} are no longer finite"
    )


def _has_interval(ds: xr.Dataset, name: str) -> bool:
    """Resampling a handful of examples makes intervals that are far too narrow."""
    enough = ds.attrs.get("examples", 0) >= threshold("interval_examples")
    return enough and f"{name}_interval" in ds


def _late(count: int) -> int:
    return math.ceil(count / 4)
