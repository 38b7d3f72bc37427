"""What training gained on held-out examples, and how much overfitting it paid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from .. import formulas, schema
from ..errors import NotApplicableError
from ..observation import Need, Observation
from ._base import Probe

if TYPE_CHECKING:
    import xarray as xr

PARTS = ("train", "held_out")


@dataclass(eq=False)
class Ogr(Probe):
    """Compares two or more states of a model on fixed training and held-out examples.

    Overfitting-to-generalization ratio, OGR = |dO / dG|, of each modality's own logits and of the
    joint ones, from one state to the next and from the first to the last (Wang et al., CVPR 2020,
    eq. 3). States are epochs of a training (`Lens.look`) or checkpoints (`compare_checkpoints`).
    Read it with the signed terms: a head that hardly learned has a low ratio, and one that got
    worse on the held-out examples has a positive one.

    Cost: what reading the modalities' own logits costs, on both sets. Memory: sums only.

    Example:
        >>> def state(epoch, training, height):
        ...     logits = torch.tensor([[height, 0.0]])
        ...     names = ("audio", "visual")
        ...     return Observation(
        ...         torch.tensor([0]), logits, names, epoch=epoch, training=training,
        ...         modality_logits=dict.fromkeys(names, logits),
        ...     )
        >>> probe = Ogr()
        >>> for epoch, training, height in [(0, 1, 0.0), (0, 0, 0.0), (1, 1, 3.0), (1, 0, 1.0)]:
        ...     probe.observe(state(epoch, bool(training), height))
        >>> probe.result()["ogr"].sel(epoch=1, head="audio").round(3).item()
        0.697
    """

    needs = (Need.LABELS, Need.MODALITY_LOGITS)
    looks_at_training = True
    _sums: dict[tuple[int, bool], Tensor] = field(default_factory=dict, init=False, repr=False)
    _counts: dict[tuple[int, bool], int] = field(default_factory=dict, init=False, repr=False)
    _heads: tuple[str, ...] = field(default=(), init=False, repr=False)

    def observe(self, seen: Observation) -> None:
        """Add the losses and the right answers of one batch."""
        everyone = {**seen.modality_logits, schema.JOINT: seen.logits}
        self._heads = tuple(everyone)
        sums = [
            torch.stack(
                [
                    torch.nn.functional.cross_entropy(
                        logits.double(), seen.labels, reduction="sum"
                    ),
                    formulas.correct(logits, seen.labels).double().sum(),
                ]
            )
            for logits in everyone.values()
        ]
        self._add((seen.epoch, seen.training), torch.stack(sums), len(seen.labels))

    def merge(self, other: Self) -> None:
        """Add the sums of another copy, state by state."""
        self._heads = self._heads or other._heads
        for key, sums in other._sums.items():
            self._add(key, sums, other._counts[key])

    def result(self) -> xr.Dataset:
        """Return losses and accuracies over (epoch, part, head), and what changed between epochs.

        The terms of an epoch are those since the epoch before; the first has none, so NaN. A
        ratio is NaN where the held-out loss did not change (by 1e-8), or is NaN itself; the
        attribute `undefined` lists where.

        Raises:
            NotAttachedError: nothing was observed yet.
            NotApplicableError: there are not two states with training and held-out examples.
        """
        if not self._sums:
            raise self.nothing_seen()
        epochs = sorted(epoch for epoch, training in self._sums if training)
        epochs = [epoch for epoch in epochs if (epoch, False) in self._sums]
        if len(epochs) < 2:
            raise NotApplicableError(
                "it compares two or more states of a model on training and held-out examples; "
                "give checkpoints to compare_checkpoints, or use Lens.look in a training"
            )
        means = torch.stack(
            [torch.stack([self._mean(epoch, part) for part in PARTS]) for epoch in epochs]
        )
        loss, accuracy = means[..., 0].cpu(), means[..., 1].cpu()
        variables = {
            "loss": _variable(loss, ("epoch", "part", "head"), "nat", "mean cross-entropy"),
            "accuracy": _variable(accuracy, ("epoch", "part", "head"), "1", "accuracy"),
        }
        for kind, values, units in (("", loss, "nat"), ("accuracy_", 1 - accuracy, "1")):
            since = [_terms(values[a], values[b]) for a, b in _pairs(len(epochs))]
            whole = _terms(values[0], values[-1])
            for k, (term, what) in enumerate(_TERMS.items()):
                first = torch.full_like(whole[k], torch.nan)
                rows = torch.stack([first, *(terms[k] for terms in since)])
                unit = units if term != "ogr" else "1"
                name = f"{what}, from {'losses' if not kind else 'error rates'}"
                variables[kind + term] = _variable(rows, ("epoch", "head"), unit, name)
                variables[f"total_{kind}{term}"] = _variable(
                    whole[k], ("head",), unit, f"{name}, first to last"
                )
        coords = {"epoch": epochs, "part": list(PARTS), "head": list(self._heads)}
        undefined = _undefined(variables["ogr"].values, epochs, self._heads)
        return schema.dataset(variables, coords, settings=self.settings(), undefined=undefined)

    def _mean(self, epoch: int, part: str) -> Tensor:
        key = (epoch, part == "train")
        return self._sums[key] / self._counts[key]

    def _add(self, key: tuple[int, bool], sums: Tensor, count: int) -> None:
        before = self._sums.get(key)
        self._sums[key] = sums if before is None else before + sums.to(before.device)
        self._counts[key] = self._counts.get(key, 0) + count


_TERMS = {
    "delta_overfit": "growth of the gap between held-out and training",
    "delta_general": "gain on the held-out examples",
    "ogr": "overfitting-to-generalization ratio",
}


def _undefined(ratios: np.ndarray, epochs: list[int], heads: tuple[str, ...]) -> list[str]:
    return [
        f"{head}, up to epoch {epochs[k]}: the held-out loss did not change, or is NaN"
        for k, row in enumerate(ratios)
        for head, ratio in zip(heads, row, strict=True)
        if k and np.isnan(ratio)
    ]


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(k, k + 1) for k in range(count - 1)]


def _terms(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return formulas.overfitting_to_generalization(before[0], before[1], after[0], after[1])


def _variable(values: Tensor, dims: tuple[str, ...], units: str, long_name: str) -> xr.Variable:
    return schema.variable(
        dims,
        np.asarray(values),
        units=units,
        long_name=long_name,
        formula="imbalance_lens.formulas.overfitting.overfitting_to_generalization",
    )


PROBE = Ogr
