"""Which modalities are right alone where the model is right, and where it is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from .. import formulas, schema
from ..errors import NotApplicableError
from ..observation import Need, Observation
from ._resampled import Resampled
from ._rows import Rows
from ._scores import scored

if TYPE_CHECKING:
    import xarray as xr

_MOST = 8
_CORRECT = "imbalance_lens.formulas.scores.correct"


@dataclass(eq=False)
class Agreement(Resampled):
    """Counts how often the model is right, by which modalities are right alone.

    Each example has a pattern: the modalities whose own logits give the true class. Where all are
    right the model should be too; where only one is, it must know whom to believe; where none is,
    it can only be right by combining them (Kontras et al., BMVC 2024, Fig. 4, for two modalities
    whose own answers come from models trained alone). Here a modality's own logits are those that
    the report names as its readout: trained heads, a part of the joint head, or the model with
    the other modalities absent.

    Cost: what reading the modalities' own logits costs. Memory: 2 + 2 M bytes per example. With
    more than 8 modalities there is no answer: the 2^M patterns would hardly hold an example each.

    Args:
        resamples: number of bootstrap resamples behind the intervals.
        confidence_level: of the intervals.
        seed: of the resamples.

    Raises:
        SettingError: a number out of range.

    Example:
        >>> audio = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
        >>> visual = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
        >>> seen = Observation(
        ...     labels=torch.tensor([1, 0, 1]),
        ...     logits=audio + visual,
        ...     modalities=("audio", "visual"),
        ...     modality_logits={"audio": audio, "visual": visual},
        ... )
        >>> probe = Agreement()
        >>> probe.observe(seen)
        >>> answer = probe.result()
        >>> answer["right_count"].sel(pattern="visual").item()
        1
        >>> answer["wrong_count"].sel(pattern="visual").item()
        1
    """

    needs = (Need.LABELS, Need.MODALITY_LOGITS)
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _rows: Rows = field(default_factory=Rows, init=False, repr=False)

    def observe(self, seen: Observation) -> None:
        """Note for each example of a batch who is right.

        Raises:
            NotApplicableError: more than 8 modalities.
        """
        if len(seen.modalities) > _MOST:
            raise NotApplicableError(
                f"The {len(seen.modalities)} modalities can be right and wrong in "
                f"{2 ** len(seen.modalities):,} patterns; agreement counts up to {2**_MOST}, those "
                f"of {_MOST} modalities. Give an anatomy that names fewer."
            )
        self._modalities = seen.modalities
        heads = [*(seen.modality_logits[name] for name in seen.modalities), seen.logits]
        scores = [scored(logits, seen.labels) for logits in heads]
        confidence, correct = (torch.stack(column, 1) for column in zip(*scores, strict=True))
        self._rows.append(right=correct, unknown=confidence.isnan())

    def merge(self, other: Self) -> None:
        """Take in the examples of another copy."""
        self._modalities = self._modalities or other._modalities
        self._rows.extend(other._rows)

    def result(self) -> xr.Dataset:
        """Return counts and shares over (pattern), and the accuracy of each head.

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        if not len(self._rows):
            raise self.nothing_seen()
        table, names = self._rows.on_host(), list(self._modalities)
        heads = [*names, schema.JOINT]
        patterns = formulas.coalitions(names)
        members = np.array([[name in pattern for name in names] for pattern in patterns])
        alone, joint = table["right"][:, :-1], table["right"][:, -1]
        pattern = (alone[:, None] == members).all(2)
        columns = np.stack([pattern & joint[:, None], pattern & ~joint[:, None]], 1)
        means = columns.mean(0)
        draws = self.resample(columns, [sorted(each) for each in patterns]).swapaxes(0, 1)
        variables = {
            "accuracy": schema.variable(
                ("head",),
                table["right"].mean(0),
                units="1",
                long_name="accuracy",
                formula=_CORRECT,
            ),
            "nonfinite": schema.variable(
                ("head",),
                table["unknown"].sum(0),
                units="example",
                long_name="examples whose logits, NaN or infinite, have no softmax",
                formula="imbalance_lens.formulas.scores.label_confidence",
            ),
        }
        for name, count in zip(("right", "wrong"), columns.sum(0), strict=True):
            variables[f"{name}_count"] = schema.variable(
                ("pattern",),
                count,
                units="example",
                long_name=f"examples where the model is {name} and these modalities right alone",
                formula=_CORRECT,
            )
        numbers = zip(_shares(means).items(), _shares(draws).values(), strict=True)
        for (name, value), drawn in numbers:
            variables |= self.estimate(
                name,
                ("pattern",)[: value.ndim],
                value,
                drawn,
                long_name=_DESCRIBED[name],
                formula=_CORRECT,
            )
        return schema.dataset(
            variables,
            {
                "pattern": [schema.coalition_name(each, names) for each in patterns],
                "head": heads,
                "bound": ["low", "high"],
            },
            settings=self.settings(),
            examples=len(self._rows),
        )


def _shares(means: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the shares of right and wrong examples, (2, ..., patterns), come to."""
    right, wrong = means
    with np.errstate(invalid="ignore"):  # 0 / 0: a pattern without examples
        of_pattern = right / (right + wrong)
    return {
        "right": right,
        "wrong": wrong,
        "joint_accuracy": of_pattern,
        "gained": right[..., 0],
        "lost": wrong[..., 1:].sum(-1),
    }


_DESCRIBED = {
    "right": "share of the examples where the model is right and these modalities right alone",
    "wrong": "share of the examples where the model is wrong and these modalities right alone",
    "joint_accuracy": "accuracy of the model where exactly these modalities are right alone",
    "gained": "share of the examples where the model is right and no modality alone",
    "lost": "share of the examples where the model is wrong and some modality right alone",
}


PROBE = Agreement
