"""Training remedies that act on what the probes of `imbalance_lens` report.

`apply` trains a model with a remedy, `attach` puts one into a loop of one's own, `compare` trains
with several over several seeds; `names`, `describe` and `get` say what there is, `add` makes a
remedy of one's own known. Each remedy is a module of its own, such as `recipes.ogm_ge`, whose
formulas can be called alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._attach import attach
    from ._base import Card, Recipe, Run, Seen, Want
    from ._comparing.compare import compare
    from ._comparing.result import Comparison
    from ._curves import coefficient_curves
    from ._history import Quantity
    from ._registry import add, describe, get, names
    from ._suggest import suggest
    from ._training.apply import apply
    from ._training.fit import Fit
    from ._training.logs import to_csv, to_tensorboard
    from ._treatment import Treatment

# torchtune installs a `recipes` too; `imbalance_lens.shadow` tells ours by the next line.
__distribution__ = "imbalance-lens"

_HOME = {
    "apply": "._training.apply",
    "attach": "._attach",
    "Card": "._base",
    "Recipe": "._base",
    "Run": "._base",
    "Seen": "._base",
    "Want": "._base",
    "compare": "._comparing.compare",
    "Comparison": "._comparing.result",
    "coefficient_curves": "._curves",
    "Fit": "._training.fit",
    "Quantity": "._history",
    "to_csv": "._training.logs",
    "to_tensorboard": "._training.logs",
    "add": "._registry",
    "describe": "._registry",
    "get": "._registry",
    "names": "._registry",
    "suggest": "._suggest",
    "Treatment": "._treatment",
}
__all__ = [
    "Card",
    "Comparison",
    "Fit",
    "Quantity",
    "Recipe",
    "Run",
    "Seen",
    "Treatment",
    "Want",
    "add",
    "apply",
    "attach",
    "coefficient_curves",
    "compare",
    "describe",
    "get",
    "names",
    "suggest",
    "to_csv",
    "to_tensorboard",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __name__), name)
    if not name.startswith("_"):
        try:
            return importlib.import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
