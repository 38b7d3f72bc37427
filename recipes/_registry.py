"""Recipes by name: those of this package, by file name, and those that users add."""

from __future__ import annotations

from imbalance_lens.errors import SettingError
from imbalance_lens.registry import Registry, unknown

from ._base import Recipe

_OWN = Registry("recipes", "RECIPE", "recipe")
_ADDED: dict[str, type[Recipe]] = {}


def names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted.

    Example:
        >>> "ogm_ge" in names()
        True
    """
    return tuple(sorted((*_OWN.names(), *_ADDED)))


def get(name: str) -> type[Recipe]:
    """Return the class of a recipe.

    Raises:
        UnknownNameError: no recipe of that name; the message lists the known ones.

    Example:
        >>> get("ogm_ge").__name__
        'OgmGe'
    """
    if name in _ADDED:
        return _ADDED[name]
    if name not in names():
        raise unknown("recipe", name, names())
    return _OWN.get(name)


def add(name: str, recipe: type[Recipe]) -> None:
    """Make a recipe of your own known under a name, for this process.

    Args:
        name: not one that exists.
        recipe: a subclass of `Recipe` with a `card`.

    Raises:
        SettingError: the name is taken, or it is no recipe.

    Example:
        >>> class Quiet(get("none")):
        ...     '''Trains plainly.'''
        >>> add("quiet", Quiet)
        >>> get("quiet") is Quiet
        True
    """
    if not isinstance(recipe, type) or not issubclass(recipe, Recipe):
        raise SettingError(f"{recipe!r} is no recipe. Give a subclass of recipes.Recipe.")
    if not hasattr(recipe, "card"):
        raise SettingError(f"{recipe.__name__} has no card. Set card = recipes.Card(...).")
    if name in names():
        raise SettingError(f"There is a recipe named {name!r} already. Choose another name.")
    recipe.name = name
    _ADDED[name] = recipe


def describe(name: str) -> str:
    """Return a recipe's card and settings as text.

    Raises:
        UnknownNameError: no recipe of that name.

    Example:
        >>> print(describe("none").splitlines()[0])
        none: Joint training
    """
    from ._describe import described

    return described(name, get(name))
