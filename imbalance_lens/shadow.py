"""Tells our package `recipes` from another one of the same name (torchtune ships one too)."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.abc import InspectLoader
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from types import ModuleType

from .errors import MissingPackageError

DISTRIBUTION = "imbalance-lens"
MARK = f'__distribution__ = "{DISTRIBUTION}"'
"""The line of `recipes/__init__.py` by which it is told."""
_REINSTALL = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"


def import_recipes() -> ModuleType:
    """Return our package `recipes`, or say what is in its way.

    Whatever else bears the name is looked at and never run.

    Raises:
        MissingPackageError: `recipes` is gone, or belongs to somebody else; the message says
            where that one lies, which distribution brought it and what to do.

    Example:
        >>> import_recipes().__name__
        'recipes'
    """
    spec = importlib.util.find_spec("recipes")
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            f"The package `recipes` of {DISTRIBUTION} is missing; uninstalling another "
            "distribution that has a `recipes` of its own, as torchtune does, deletes it. "
            f"Put it back: {_REINSTALL}"
        )
    loader = spec.loader
    source = loader.get_source("recipes") if isinstance(loader, InspectLoader) else None
    if MARK not in (source or ""):
        raise MissingPackageError(_complaint(Path(spec.origin)))
    return importlib.import_module("recipes")


def _complaint(origin: Path) -> str:
    found = f"`import recipes` does not find {DISTRIBUTION}'s package but {origin}"
    owner = _owner(origin)
    if owner:
        return (
            f"{found}, which {owner} installed. Only one of the two can have the name: "
            f"pip uninstall {owner} && {_REINSTALL}"
        )
    return (
        f"{found}, which no installed distribution claims. Rename it, or take "
        f"{origin.parent.parent} off Python's path."
    )


def _owner(origin: Path) -> str:
    for name in packages_distributions().get("recipes", []):
        files = distribution(name).files or []
        if name != DISTRIBUTION and any(Path(str(f.locate())) == origin for f in files):
            return name
    return ""
