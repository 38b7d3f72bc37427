"""What recipes that set the pace of encoders do, before any training: k(r)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from imbalance_lens import schema
from imbalance_lens.errors import SettingError

from ._registry import get

if TYPE_CHECKING:
    import xarray as xr

_RATIOS = tuple(np.geomspace(0.1, 10, 101).tolist())
"""From ten times behind to ten times ahead."""


@runtime_checkable
class _SetsPaces(Protocol):
    def coefficients(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]: ...


def coefficient_curves(
    choices: Mapping[str, str | tuple[str, Mapping[str, Any]]],
    ratios: Sequence[float] = _RATIOS,
) -> xr.Dataset:
    """Return the factor on an encoder's pace by how far its modality is ahead of one other.

    For a look at settings before training (Kontras et al., BMVC 2024, Fig. 2): nothing is trained.

    Args:
        choices: label -> name of a recipe, or name and settings, as `compare` takes them.
        ratios: score of the modality over that of the other, each above 0.

    Returns:
        Over (recipe, ratio) `coefficient`, which `figures.plot_coefficient_ratio` draws.

    Raises:
        UnknownNameError: no recipe of a name.
        SettingError: one that puts no factor on encoders, a setting that is not allowed, no
            choice, or a ratio that is not above 0.

    Example:
        >>> found = coefficient_curves({"weak": ("ogm_ge", {"alpha": 0.2})}, ratios=[0.5, 2.0])
        >>> found["coefficient"].values.round(3)
        array([[1.   , 0.848]])
    """
    if not choices or not all(ratio > 0 for ratio in ratios):
        raise SettingError(
            "coefficient_curves takes one or more choices and ratios above 0; got "
            f"{len(choices)} and {list(ratios)}."
        )
    rows = [_curve(choice, ratios) for choice in choices.values()]
    values = schema.variable(
        ("recipe", "ratio"),
        np.array(rows).reshape(len(rows), len(ratios)),
        units="1",
        long_name="factor on the pace of the modality's encoder",
        formula="recipes.coefficient_curves",
    )
    coords = {"recipe": list(choices), "ratio": list(ratios)}
    return schema.dataset({"coefficient": values}, coords, settings={"choices": dict(choices)})


def _curve(choice: str | tuple[str, Mapping[str, Any]], ratios: Sequence[float]) -> list[float]:
    name, settings = (choice, {}) if isinstance(choice, str) else choice
    recipe = get(name)(**settings)
    if not isinstance(recipe, _SetsPaces):
        raise SettingError(
            f"{name!r} puts no factor on the pace of encoders. Choose one that does, such as "
            "'ogm_ge' or 'mlb'."
        )
    one = torch.ones((), dtype=torch.float64)
    return [
        float(recipe.coefficients({"own": one * ratio, "other": one})["own"]) for ratio in ratios
    ]
