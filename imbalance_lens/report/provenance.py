"""What a report rests on: who is who in the model, and with which settings it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .reading import root, settings
from .words import one_line, shown

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Provenance:
    """Where a report's numbers come from.

    Attributes:
        parts: (part, its place in the model, how that is known) per part.
        settings: (probe, its settings) per probe, those of the diagnosis first.
    """

    parts: tuple[tuple[str, str, str], ...]
    settings: tuple[tuple[str, str], ...]


def provenance(tree: xr.DataTree) -> Provenance:
    """Return what a report's numbers rest on."""
    who = root(tree, "anatomy")
    known = who.get("evidence") or {}
    placed = [*who.get("encoders", {}).items()]
    placed += [(part, who[part]) for part in _OTHER_PARTS if who.get(part)]
    given = {"diagnosis": root(tree, "settings")}
    given |= {str(name): settings(group.to_dataset()) for name, group in tree.children.items()}
    return Provenance(
        parts=tuple(
            (shown(part), _said(place), one_line(str(known.get(part, ""))))
            for part, place in placed
        ),
        settings=tuple((shown(name), _pairs(chosen)) for name, chosen in given.items() if chosen),
    )


_OTHER_PARTS = ("fusion", "head")


def _pairs(chosen: Mapping[str, Any]) -> str:
    return ", ".join(f"{shown(str(name))}: {_said(value)}" for name, value in chosen.items())


def _said(value: Any) -> str:
    """Return a setting as one writes it, whatever JSON holds."""
    if isinstance(value, Mapping):
        return f"({_pairs(value)})" if value else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(_said, value)) or "none"
    return "none" if value is None else one_line(str(value))
