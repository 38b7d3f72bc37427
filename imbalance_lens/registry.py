"""Names that come from file names: the one mechanism behind probes, recipes and figures."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import UnknownNameError


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Word the complaint about a name that does not exist.

    Example:
        >>> print(unknown("recipe", "ogm-ge", ["ogm_ge", "opm"]))
        No recipe named 'ogm-ge'. Did you mean 'ogm_ge'? Known: ogm_ge, opm.
    """
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(f"No {kind} named {name!r}.{hint} Known: {', '.join(names)}.")


@dataclass(frozen=True)
class Registry:
    """The public modules of one package, by file name, imported when they are asked for.

    Args:
        package: dotted name of the package; files that begin with an underscore stay private.
        attribute: the name under which every file exports its one public class.
        kind: what an entry is called in messages.
        apart: public files of the package that hold no entry.
    """

    package: str
    attribute: str
    kind: str
    apart: frozenset[str] = frozenset()

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        paths = importlib.import_module(self.package).__path__
        files = (module.name for module in pkgutil.iter_modules(paths) if not module.ispkg)
        return tuple(sorted(n for n in files if not n.startswith("_") and n not in self.apart))

    def get(self, name: str) -> Any:
        """Return the entry of that name.

        Raises:
            UnknownNameError: no file of that name; the message lists the known ones.
        """
        known = self.names()
        if name not in known:
            raise unknown(self.kind, name, known)
        return getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
