"""What the model loses when a modality's features come from another example."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from .. import checks, formulas, schema
from ..observation import Need, Observation
from ._exchanging import Exchanging
from ._scores import flipped, right_if_known

if TYPE_CHECKING:
    import xarray as xr

_NO_LABEL = -1


@dataclass(eq=False)
class Permutation(Exchanging):
    """Exchanges one modality's features between examples and looks what becomes of the answers.

    The accuracy that this costs is how much the model perceives of the modality (the perceptual
    score of Gat, Schwartz and Schwing, NeurIPS 2021). Unlike features of zero, exchanged features
    are such as the model knows. Without labels the change itself is measured: how often the
    answer flips, and by how many nats it diverges; accuracies are NaN then.

    Features are exchanged within a batch, each example getting those of another one, so the
    numbers depend on the batches a little: use batches as large as they get, and shuffled ones
    where the examples are sorted by class. A batch of one example has nothing to exchange; it is
    left out, and counted in the attribute `left_out`.

    Cost: fusion and head M x `draws` times per batch, no encoder. Memory: 12 + 12 M bytes per
    example.

    Args:
        draws: how often the features are exchanged, each time otherwise.
        resamples: number of bootstrap resamples behind the intervals, which are over the examples.
        confidence_level: of the intervals.
        seed: of the resamples.

    Raises:
        SettingError: a number out of range.

    Example:
        >>> audio = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
        >>> def coalitions(present, fill="zero", draw=0):  # only "audio" has a say
        ...     return audio if "audio" in present else audio.flip(0)
        >>> names = ("audio", "visual")
        >>> seen = Observation(
        ...     labels=torch.tensor([0, 1]),
        ...     logits=coalitions(names),
        ...     modalities=names,
        ...     coalitions=coalitions,
        ... )
        >>> probe = Permutation(draws=2)
        >>> probe.observe(seen)
        >>> probe.result()["drop"].values, probe.result()["flip_rate"].values
        (array([1., 0.]), array([1., 0.]))
    """

    needs = (Need.COALITIONS,)
    draws: int = 5
    _classes: int = field(default=0, init=False, repr=False)
    _by_draw: formulas.Moments = field(default_factory=formulas.Moments, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole("draws", self.draws)

    def observe(self, seen: Observation) -> None:
        """Exchange the features of each modality in turn between the examples of one batch."""
        if not self.has_partners(seen):
            return
        self._classes = seen.logits.shape[1]
        scores = self._exchanged(seen)
        self._by_draw.update(scores)
        unlabeled = torch.full_like(seen.logits[:, 0], _NO_LABEL, dtype=torch.int64)
        self._rows.append(
            label=seen.labels.clone() if len(seen.labels) else unlabeled,
            right=right_if_known(seen.logits, seen.labels),
            exchanged=scores.mean(3).float(),
        )

    def merge(self, other: Self) -> None:
        """Take in the examples of another copy."""
        super().merge(other)
        self._classes = self._classes or other._classes
        self._by_draw.merge(other._by_draw)

    def result(self) -> xr.Dataset:
        """Return what exchanging each modality costs in accuracy, and changes in the answers.

        Raises:
            NotAttachedError: nothing was observed yet.
            NotApplicableError: no batch had two examples.
        """
        if not len(self._rows):
            raise self.nothing_exchanged()
        table, names = self._rows.on_host(), list(self._modalities)
        right = np.repeat(table["right"][:, None, None], len(names), axis=2)
        columns = np.concatenate([right, table["exchanged"]], axis=1)
        majority = self._majority(table["label"])
        variables = {
            **self._estimates(columns, majority),
            **self._by_draws(),
            "accuracy": schema.variable(
                (),
                table["right"].mean(dtype=np.float64),
                units="1",
                long_name="accuracy of the model",
                formula="imbalance_lens.formulas.scores.correct",
            ),
            "majority": schema.variable(
                (),
                majority,
                units="1",
                long_name="accuracy of always answering the most frequent label",
                formula="numpy.bincount",
            ),
        }
        return schema.dataset(
            variables,
            {
                "modality": names,
                "other": names,
                "draw": np.arange(self.draws),
                "bound": ["low", "high"],
            },
            settings=self.settings(),
            examples=len(self._rows),
            left_out=self._left_out,
            labeled=not np.isnan(majority),
        )

    def _exchanged(self, seen: Observation) -> Tensor:
        """Return what exchanging does, (batch, quantities, modalities, draws)."""
        everyone = frozenset(seen.modalities)
        exchanged = [
            seen.coalitions(everyone - {name}, fill="permute", draw=draw)
            for name in seen.modalities
            for draw in range(self.draws)
        ]
        # All answers in one table: scored one by one they would take longer than they took.
        logits = torch.cat(exchanged)
        before, labels = seen.logits.repeat(len(exchanged), 1), seen.labels.repeat(len(exchanged))
        right, flips = right_if_known(logits, labels), flipped(before, logits)
        divergence = formulas.kl_divergence(before, logits)
        scores = torch.stack([right.double(), flips.double(), divergence.double()], 1)
        table = scores.unflatten(0, (len(seen.modalities), self.draws, len(seen.logits)))
        return table.permute(2, 3, 0, 1).contiguous()

    def _majority(self, labels: np.ndarray) -> float:
        if (labels == _NO_LABEL).any():
            return float("nan")
        return np.bincount(labels, minlength=self._classes).max() / len(labels)

    def _estimates(self, columns: np.ndarray, majority: float) -> dict[str, xr.Variable]:
        values = _losses(columns.mean(0, dtype=np.float64), majority)
        draws = _losses(self.resample(columns, self._modalities).swapaxes(0, 1), majority)
        variables = {}
        for name, (long_name, units, formula) in _DESCRIBED.items():
            variables |= self.estimate(
                name,
                ("modality", "other")[: values[name].ndim],
                values[name],
                draws[name],
                units=units,
                long_name=long_name,
                formula=formula,
            )
        return variables

    def _by_draws(self) -> dict[str, xr.Variable]:
        variables = {}
        for name, means in zip(_BY_DRAW, self._by_draw.mean.cpu().numpy(), strict=True):
            long_name, units, formula = _DESCRIBED[name]
            variables[f"{name}_by_draw"] = schema.variable(
                ("modality", "draw"),
                means,
                units=units,
                long_name=f"{long_name}, of each draw",
                formula=formula,
            )
            with np.errstate(invalid="ignore"):  # of what is infinite in every draw
                spread = means.std(1, ddof=1) if self.draws > 1 else means[:, 0] * np.nan
            variables[f"{name}_std"] = schema.variable(
                ("modality",),
                spread,
                units=units,
                long_name=f"standard deviation over the draws: {long_name}",
                formula="numpy.std",
            )
        return variables


def _losses(means: np.ndarray, majority: float) -> dict[str, np.ndarray]:
    """Return what is lost, from mean rightness, that when exchanged, flips and divergence."""
    right, exchanged, flips, divergence = means
    drop = right - exchanged
    return {
        "exchanged_accuracy": exchanged,
        "drop": drop,
        "relative_drop": drop / np.where(right == 0, np.nan, right),
        "task_drop": drop / (1 - majority if majority < 1 else np.nan),
        "drop_gap": _gap(drop),
        "flip_rate": flips,
        "flip_rate_gap": _gap(flips),
        "divergence": divergence,
    }


def _gap(values: np.ndarray) -> np.ndarray:
    return values[..., :, None] - values[..., None, :]


class _Described(NamedTuple):
    long_name: str
    units: str = "1"
    formula: str = "imbalance_lens.formulas.scores.correct"


_BY_DRAW = ("exchanged_accuracy", "flip_rate", "divergence")
_DESCRIBED = {
    "exchanged_accuracy": _Described("accuracy with this modality exchanged"),
    "drop": _Described("accuracy lost when this modality is exchanged"),
    "relative_drop": _Described(
        "accuracy lost when this modality is exchanged, as a share of the accuracy"
    ),
    "task_drop": _Described(
        "accuracy lost when this modality is exchanged, as a share of what a perfect model has "
        "over always answering the most frequent label"
    ),
    "drop_gap": _Described("accuracy lost when exchanged, minus that for the other modality"),
    "flip_rate": _Described("share of the answers that change when this modality is exchanged"),
    "flip_rate_gap": _Described("share of answers that change, minus that for the other modality"),
    "divergence": _Described(
        "mean divergence of the answers with this modality exchanged from those without",
        "nat",
        "imbalance_lens.formulas.divergence.kl_divergence",
    ),
}


PROBE = Permutation
