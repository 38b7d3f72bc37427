"""A recipe's card as text."""

from __future__ import annotations

import dataclasses
import textwrap

from ._base import Recipe


def described(name: str, recipe: type[Recipe]) -> str:
    """Return the card and the settings, in lines of at most 80 characters."""
    settings = [
        f"{field.name}={field.default!r}" for field in dataclasses.fields(recipe) if field.init
    ]
    rows = recipe.card.rows()
    place = [label for label, _ in rows].index("defaults")
    rows.insert(place, ("settings", ", ".join(settings)))
    lines = [_row(f"{label:<10} ", text) for label, text in rows]
    return "\n".join([f"{name}: {recipe.card.title}", *lines])


def _row(label: str, text: str) -> str:
    return textwrap.fill(text, 80, initial_indent=f"  {label}", subsequent_indent=" " * 13)
