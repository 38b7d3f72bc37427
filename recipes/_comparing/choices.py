"""The recipes that are compared, each with a label and settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imbalance_lens import checks
from imbalance_lens.errors import SettingError

from .._base import Recipe
from .._compose import RecipeChoice, chosen_recipes
from .._registry import get
from .._values import described

BASELINE = "none"

Together = RecipeChoice | Iterable[RecipeChoice]
"""One recipe, or several that go together."""

Compared = Iterable[Together] | Mapping[str, Together | tuple[Together, Mapping[str, Any]]]


@dataclass(frozen=True)
class Choice:
    """One row of a comparison.

    Attributes:
        label: its name in tables.
        recipes: by name, or made with settings of their own.
        settings: of those that are named.
    """

    label: str
    recipes: tuple[RecipeChoice, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def made(self, val: Iterable[Any] | None = None) -> list[Recipe]:
        """Return new recipes; those that learn from validation data get that of the training.

        Raises:
            UnknownNameError: no recipe of a name, or no such setting.
            SettingError: a value that is not allowed.
        """
        settings = dict(self.settings)
        named = [get(name) for name in self.recipes if isinstance(name, str)]
        if val is not None and any("val" in (f.name for f in _settings(own)) for own in named):
            settings.setdefault("val", val)
        again = [
            dataclasses.replace(each) if isinstance(each, Recipe) else each for each in self.recipes
        ]
        return chosen_recipes(again, settings)

    def described(self) -> list[dict[str, Any]]:
        """Return the recipes and their settings in plain values."""
        return [described(recipe) for recipe in self.made()]

    @property
    def is_baseline(self) -> bool:
        """Whether this is plain joint training."""
        return [recipe.name for recipe in self.made()] == [BASELINE]


def choices_of(compared: Compared) -> list[Choice]:
    """Return the rows, plain joint training before all others where it is not among them.

    Raises:
        UnknownNameError: no recipe of a name, or no such setting.
        SettingError: nothing to compare, a label twice, or a value that is not allowed.
    """
    if isinstance(compared, str | Recipe) or not isinstance(compared, Iterable):
        compared = [compared]
    rows = (
        [_row(label, given) for label, given in compared.items()]
        if isinstance(compared, Mapping)
        else [_row(None, given) for given in compared]
    )
    taken: dict[str, Choice] = {}
    for row in rows:
        if not row.label:
            raise SettingError("A label is empty. Name each row of the comparison.")
        checks.unique("recipes.compare", row.label, taken)
        row.made()
        taken[row.label] = row
    if not rows:
        raise SettingError("There is nothing to compare. Name at least one recipe.")
    if not any(row.is_baseline for row in rows):
        checks.unique("recipes.compare", BASELINE, taken)
        rows.insert(0, Choice(BASELINE, (BASELINE,)))
    return rows


def _row(label: Any, given: Any) -> Choice:
    settings: Mapping[str, Any] = {}
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping):
        given, settings = given
    together = (
        tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    )
    names = " + ".join(str(getattr(each, "name", each)) for each in together)
    return Choice(names if label is None else str(label), together, settings)


def _settings(recipe: type[Recipe]) -> tuple[dataclasses.Field[Any], ...]:
    return tuple(f for f in dataclasses.fields(recipe) if f.init)
