"""The datasets of a report, as figures take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .. import schema
from ..errors import NotApplicableError, SchemaError

if TYPE_CHECKING:
    import xarray as xr

CAPACITY = "capacity"
UNIMODAL = "unimodal_accuracy"
"""What models of one modality alone get right: {modality: accuracy}."""


def datasets(tree: xr.DataTree) -> Iterator[tuple[str, xr.Dataset]]:
    """Give each probe's dataset, told of the whole: which modalities there are, for their colors.

    Where both were measured, `capacity` has dead channels beside abnormal ones.
    """
    told = {"modalities": _part(tree, "anatomy").get("modalities", [])}
    told[UNIMODAL] = _part(tree, "settings").get(UNIMODAL, {})
    attributes = {name: schema.to_json(value) for name, value in told.items() if value}
    parts = {name: group.to_dataset() for name, group in tree.children.items()}
    if {"dead_features", "abnormal_batchnorm"} <= parts.keys():
        from ..capacity import join

        with suppress(NotApplicableError):  # no activation function follows a BatchNorm layer
            parts[CAPACITY] = join(parts["dead_features"], parts["abnormal_batchnorm"])
    for name, ds in parts.items():
        yield name, ds.assign_attrs(attributes)


def of_states(states: Sequence[Mapping[str, xr.Dataset]]) -> dict[str, xr.Dataset]:
    """Return the datasets that all states of a model have, each over epochs.

    Those that have epochs of their own are left out.

    Raises:
        SchemaError: the states were measured in different ways.
    """
    from ..epochs import over_epochs

    plain = [
        {name for name, ds in state.items() if ds.sizes.get("epoch", 1) == 1} for state in states
    ]
    found = {}
    for name in (name for name in states[-1] if all(name in own for own in plain)):
        try:
            found[name] = over_epochs([state[name] for state in states])
        except SchemaError as error:
            error.add_note(f"(with what {name} says)")
            raise
    return found


def _part(tree: xr.DataTree, attribute: str) -> dict[str, Any]:
    return schema.from_json(str(tree.attrs.get(attribute, "{}")))
