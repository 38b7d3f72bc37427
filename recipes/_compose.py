"""From what the user names to recipes that go together."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from imbalance_lens import checks
from imbalance_lens.errors import ClashWarning, SettingError
from imbalance_lens.registry import unknown

from ._base import Recipe
from ._registry import get, names

RecipeChoice = str | Recipe
"""A recipe by its name, or one made with settings of its own."""


def chosen_recipes(
    choice: RecipeChoice | Iterable[RecipeChoice], settings: Mapping[str, Any]
) -> list[Recipe]:
    """Return new recipes, with the settings that are theirs.

    A setting goes to every named recipe that has it; recipes that come made keep their own.

    Raises:
        UnknownNameError: no recipe of a name, or no named recipe with such a setting.
        SettingError: a name twice, a value that is not allowed, or no recipe at all.
    """
    chosen = (
        list(choice) if isinstance(choice, Iterable) and not isinstance(choice, str) else [choice]
    )
    if not chosen:
        raise SettingError(f"Name at least one recipe; 'none' trains plainly. Known: {_known()}.")
    classes = {name: get(name) for name in chosen if isinstance(name, str)}
    fields = {name: _fields(recipe) for name, recipe in classes.items()}
    for setting in settings:
        if not any(setting in own for own in fields.values()):
            if not fields:
                raise SettingError(
                    f"Nothing takes {setting!r}: the recipe is made already, with settings of its "
                    "own. Give the setting when it is made, or name the recipe."
                )
            owners = " or ".join(map(repr, fields))
            known = sorted({field for own in fields.values() for field in own})
            raise unknown(f"setting of {owners}", setting, known)
    made: dict[str, Recipe] = {}
    for item in chosen:
        if isinstance(item, type) and issubclass(item, Recipe):
            raise SettingError(
                f"{item.__name__} is the class of a recipe. Make one: {item.__name__}()."
            )
        if not isinstance(item, str | Recipe):
            raise SettingError(
                f"A recipe is a name or a Recipe; got {type(item).__name__}. Names: {_known()}."
            )
        name = item if isinstance(item, str) else item.name
        checks.unique("recipes", name, made)
        if isinstance(item, str):
            own = {key: value for key, value in settings.items() if key in fields[item]}
            made[name] = classes[item](**own)
        else:
            made[name] = item
    return list(made.values())


def warn_of_clashes(recipes: Iterable[Recipe]) -> None:
    """Warn of any two recipes that change the same thing."""
    for one, other in itertools.combinations(recipes, 2):
        both = [thing for thing in one.card.touches if thing in other.card.touches]
        if both:
            warnings.warn(
                f"{one.name!r} and {other.name!r} both change the {' and the '.join(both)}, so "
                "the training follows the paper of neither. Take one of them.",
                ClashWarning,
                stacklevel=4,
            )


def _fields(recipe: type[Recipe]) -> set[str]:
    return {field.name for field in dataclasses.fields(recipe) if field.init}


def _known() -> str:
    return ", ".join(names())
