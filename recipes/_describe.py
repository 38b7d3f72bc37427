"""A recipe's card as text."""

from __future__ import annotations

import dataclasses
import textwrap

from ._base import Recipe


def described(name: str, recipe: type[Recipe]) -> str:
    """Return the card and the settings, in lines of at most 80 characters."""
    card = recipe.card
    settings = [
        f"{field.name}={field.default!r}" for field in dataclasses.fields(recipe) if field.init
    ]
    rows = {
        "paper": card.paper,
        "equations": card.equations,
        "acts at": ", ".join(card.events) or "no event",
        "changes": ", ".join(card.touches) or "nothing",
        "needs": card.needs,
        "settings": ", ".join(settings),
        "defaults": card.defaults,
    }
    lines = [f"{name}: {card.title}"]
    lines += [_row(f"{label:<10} ", text) for label, text in rows.items()]
    for deviation in card.deviations:
        lines.append(_row("differs    ", deviation))
    return "\n".join(lines)


def _row(label: str, text: str) -> str:
    return textwrap.fill(text, 80, initial_indent=f"  {label}", subsequent_indent=" " * 13)
