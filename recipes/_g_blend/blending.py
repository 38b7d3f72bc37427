"""From what each head gained and overfitted to the weights of their losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from imbalance_lens import checks, schema

from .blend import blend_weights, correlated_weights

if TYPE_CHECKING:
    import xarray as xr

MEASURES = ("loss", "accuracy")
SOLUTIONS = ("uncorrelated", "correlated")


@dataclass(frozen=True)
class Estimate:
    """Weights and what they come from.

    Attributes:
        weights: head -> its loss's weight; they sum to 1.
        dataset: over `head`, the joint one included: `generalization` G, `overfitting` O, `ogr`
            and `weight`, G and O without floors; over `epoch`, `part` and `head`: `loss` and
            `accuracy` of each head trained alone.
    """

    weights: Mapping[str, float]
    dataset: xr.Dataset

    def summary(self) -> str:
        """Return G, O, OGR and weight of each head, in lines of text."""
        columns = ("generalization", "overfitting", "ogr", "weight")
        wide = max(len("head"), *map(len, self.weights))
        lines = [f"{'head':<{wide}}  " + "  ".join(f"{name:>14}" for name in columns)]
        for head in self.weights:
            numbers = (float(self.dataset[name].sel(head=head)) for name in columns)
            lines.append(f"{head:<{wide}}  " + "  ".join(f"{number:14.4f}" for number in numbers))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()


@dataclass(frozen=True)
class Blending:
    """How weights follow from what the heads gained and overfitted; see `estimate_weights`."""

    measure: str
    solution: str
    floor: float
    raw: bool

    def __post_init__(self) -> None:
        checks.one_of("measure", self.measure, MEASURES)
        checks.one_of("solution", self.solution, SOLUTIONS)
        checks.positive("floor", self.floor)

    @property
    def each_epoch(self) -> bool:
        """Whether heads have to be measured after every epoch."""
        return self.solution == "correlated"

    def estimate(self, by_head: Mapping[str, xr.Dataset], settings: Mapping[str, Any]) -> Estimate:
        """Return the weights that the `ogr` probe's answers about each head lead to."""
        kind = "" if self.measure == "loss" else "accuracy_"
        total = {
            name: {
                head: float(found[f"total_{kind}{name}"].sel(head=head))
                for head, found in by_head.items()
            }
            for name in _TERMS
        }
        gain, price = total["delta_general"], total["delta_overfit"]
        if self.solution == "uncorrelated":
            weights = blend_weights(gain, price, self.floor, raw=self.raw)
        else:
            weights = self._correlated(by_head, kind)
        plain = {head: weight.item() for head, weight in weights.items()}
        return Estimate(plain, _dataset(by_head, total, plain, self.measure, settings))

    def _correlated(self, by_head: Mapping[str, xr.Dataset], kind: str) -> dict[str, Tensor]:
        def rows(term: str) -> Tensor:
            columns = [found[f"{kind}{term}"].values[1:, 0] for found in by_head.values()]
            return torch.from_numpy(np.stack(columns, axis=1))

        gain, price = rows("delta_general").mean(0), rows("delta_overfit")
        overlap = price.T @ price / len(price)
        if not self.raw:
            gain = gain.clamp_min(0)
            least = self.floor * gain.max()
            overlap = overlap + least.square() * torch.eye(len(gain), dtype=gain.dtype)
            if gain.max() == 0:
                return dict.fromkeys(by_head, torch.tensor(1 / len(gain), dtype=gain.dtype))
        return correlated_weights(dict(zip(by_head, gain, strict=True)), overlap, signed=self.raw)


_TERMS = {"delta_general": "generalization", "delta_overfit": "overfitting", "ogr": "ogr"}


def _dataset(
    by_head: Mapping[str, xr.Dataset],
    total: Mapping[str, Mapping[str, float]],
    weights: Mapping[str, float],
    measure: str,
    settings: Mapping[str, Any],
) -> xr.Dataset:
    one = next(iter(by_head.values()))
    variables: dict[str, Any] = {}
    for name in ("loss", "accuracy"):
        values = np.concatenate([found[name].values for found in by_head.values()], axis=2)
        variables[name] = schema.variable(["epoch", "part", "head"], values, **one[name].attrs)
    for term, name in _TERMS.items():
        attrs = dict(one[f"total_{'' if measure == 'loss' else 'accuracy_'}{term}"].attrs)
        values = [total[term][head] for head in by_head]
        variables[name] = schema.variable(["head"], values, **attrs)
    variables["weight"] = schema.variable(
        ["head"],
        [weights[head] for head in by_head],
        units="1",
        long_name="weight of the head's loss",
        formula="recipes.g_blend.blend_weights"
        if settings["solution"] == "uncorrelated"
        else "recipes.g_blend.correlated_weights",
    )
    coords = {name: one[name].values for name in ("epoch", "part")} | {"head": list(by_head)}
    return schema.dataset(variables, coords, settings=settings)
