"""Every public name stands somewhere in the documentation, with its docstring."""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pytest

import recipes
from imbalance_lens.probes import PROBES

from .documents import REPOSITORY

_SHOWN = re.compile(r"^::: (?P<path>\S+)\n(?P<options>(?:    .+\n)*)", re.M)
_MEMBERS = re.compile(r"members: \[(.+)\]")


def found(path: str) -> Any:
    """What a dotted path leads to, as Python's own import does."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise LookupError(path)


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The names that a module offers, without what it merely imports."""
    names = getattr(module, "__all__", None)
    for name in names or dir(module):
        thing = getattr(module, name)
        own = getattr(thing, "__module__", "").startswith(module.__name__)
        if names or (own and not name.startswith("_") and callable(thing)):
            yield name, thing


@cache
def shown() -> set[int]:
    """The objects that the pages show."""
    things: list[Any] = []
    for page in (REPOSITORY / "docs").rglob("*.md"):
        for block in _SHOWN.finditer(page.read_text()):
            thing, members = found(block["path"]), _MEMBERS.search(block["options"])
            if members:
                things += (getattr(thing, name.strip()) for name in members[1].split(","))
            elif isinstance(thing, ModuleType):
                things += (value for _, value in public(thing))
            else:
                things.append(thing)
    return {id(thing) for thing in things}


@pytest.mark.parametrize(
    "module",
    [
        "imbalance_lens",
        "imbalance_lens.anatomy",
        "imbalance_lens.datasets",
        "imbalance_lens.errors",
        "imbalance_lens.figures",
        "imbalance_lens.formulas",
        "imbalance_lens.models",
        "imbalance_lens.schema",
        "imbalance_lens.testing",
        "recipes",
    ],
)
def test_every_public_name_is_shown(module: str):
    assert [name for name, thing in public(found(module)) if id(thing) not in shown()] == []


@pytest.mark.parametrize(
    "entry", [*map(PROBES.get, PROBES.names()), *map(recipes.get, recipes.names())]
)
def test_every_probe_and_recipe_is_shown(entry: type):
    assert id(entry) in shown()
