"""From `setting=text` on the command line to the value that a recipe takes."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import SettingError


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _nothing(text: str) -> None:
    return {"none": None}[text.lower()]


_READERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "None": (_nothing, "none"),
    "bool": (_truth, "true or false"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "str": (str, "a text"),
}
"""In the order in which they are tried: what reads a type's values, and what these are called."""


def settings_of(recipes: Iterable[type], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings, each of the type that the first recipe that has it says.

    What no recipe has stays text, so that whoever takes the settings can complain.

    Args:
        recipes: classes of recipes.
        texts: setting -> value as it was written.

    Raises:
        SettingError: a value is of another type.
    """
    kinds: dict[str, tuple[type, str]] = {}
    for recipe in recipes:
        for field in dataclasses.fields(recipe):
            kinds.setdefault(field.name, (recipe, _written(field.type)))
    return {
        name: _read(name, text, *kinds[name]) if name in kinds else text
        for name, text in texts.items()
    }


def _written(kind: Any) -> str:
    """Return an annotation as text; evaluated, it may name what only type checkers import."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _literals(words: str) -> list[str]:
    return [word for word in ast.literal_eval(f"({words},)") if isinstance(word, str)]


def _read(name: str, text: str, recipe: Any, kind: str) -> Any:
    allowed = kind.split(" | ")
    words = [word for words in re.findall(r"Literal\[(.*?)\]", kind) for word in _literals(words)]
    if text in words:
        return text
    readers = [reader for own, reader in _READERS.items() if own in allowed]
    for read, _ in readers:
        try:
            return read(text)
        except (ValueError, KeyError):
            continue
    if not readers:
        raise SettingError(
            f"{name} of {recipe.name!r} cannot be written on a command line. Call recipes.apply."
        )
    what = " or ".join([*map(repr, words), *(told for _, told in readers)])
    raise SettingError(f"--set {name}={text}: {name} of {recipe.name!r} is {what}.")
