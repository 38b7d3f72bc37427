"""Whether the model combines modalities at all, or only adds up what each one says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .. import checks, formulas, schema
from ..errors import NotApplicableError
from ..formulas import Moments
from ..observation import Need, Observation
from ._exchanging import Exchanging
from ._scores import deviation, flipped, right_if_known

if TYPE_CHECKING:
    import xarray as xr

_PROJECTION = "imbalance_lens.formulas.additive.additive_projection"
_CORRECT = "imbalance_lens.formulas.scores.correct"


@dataclass(eq=False)
class Emap(Exchanging):
    """Compares the model with the best model that adds up one function of each modality.

    The empirical multimodally-additive projection (Hessel and Lee, EMNLP 2020) takes all
    interaction out of the logits and leaves the rest as close to them as it can be. Where its
    accuracy is the model's own, the model needs no interaction for its answers, however elaborate
    its fusion is. For a linear head over concatenated features the two are the same.

    All pairs are made within a batch, so this is the within-batch estimate: the projection of the
    model on the examples of one batch at a time. It gets finer with larger batches. With more
    than two modalities, each is set against all the others together: one function of the
    modality, plus one of the rest. A batch of one example is left out, and counted in the
    attribute `left_out`. Accuracies are NaN without labels.

    Cost: fusion and head once per example of a batch, times M for M > 2, which is why only
    `batches` of them are looked at; no encoder. While a batch is looked at, the logits of all
    these passes are kept, 4 B^2 C bytes for B examples and C classes. Memory: 4 + 8 M bytes per
    example.

    Args:
        batches: how many batches are looked at.
        at_inputs: also answer where a modality is replaced at an input of the model, so that each
            pass is one of the whole model.
        resamples: number of bootstrap resamples behind the intervals.
        confidence_level: of the intervals.
        seed: of the resamples.

    Raises:
        SettingError: a number out of range.

    Example:
        >>> audio, visual = torch.tensor([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])
        >>> def coalitions(present, fill="zero", draw=0):  # the first class, if signs are equal
        ...     other = visual.roll(-draw) if "audio" in present else visual
        ...     return torch.stack([audio * other, torch.zeros(4)], 1)
        >>> names = ("audio", "visual")
        >>> seen = Observation(
        ...     labels=torch.tensor([0, 1, 1, 0]),
        ...     logits=coalitions(names),
        ...     modalities=names,
        ...     coalitions=coalitions,
        ... )
        >>> probe = Emap()
        >>> probe.observe(seen)
        >>> probe.result()["interaction"].values
        array([1., 1.])
    """

    needs = (Need.COALITIONS,)
    needs_whole_batches = True
    batches: int = 2
    at_inputs: bool = False
    _looked: int = field(default=0, init=False, repr=False)
    _logits: Moments = field(default_factory=Moments, init=False, repr=False)
    _residual: Moments = field(default_factory=Moments, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole("batches", self.batches)

    def looks_at(self, step: int) -> bool:  # noqa: ARG002 - counts what it has seen
        """Say whether fewer batches were looked at than are wanted."""
        return self._looked < self.batches

    def observe(self, seen: Observation) -> None:
        """Answer all pairs of features within one batch.

        Raises:
            NotApplicableError: each pass would be one of the whole model.
        """
        if seen.reruns_encoders and not self.at_inputs:
            raise NotApplicableError(
                "A modality is replaced at an input of the model, so that emap would run the whole "
                "model once per example of a batch. Name encoders whose outputs can be replaced, "
                "or accept that with Emap(at_inputs=True)."
            )
        if not self.has_partners(seen):
            return
        self._looked += 1
        first, *rest = seen.modalities
        projections = [formulas.additive_projection(_shifted(seen, first))]
        # Of two modalities, each is the rest of the other one.
        projections += (
            [formulas.additive_projection(_shifted(seen, name)) for name in rest]
            if len(rest) > 1
            else projections
        )
        self._logits.update(seen.logits)
        residuals = [(seen.logits.double() - logits).square().sum(1) for logits in projections]
        self._residual.update(torch.stack(residuals, 1))
        self._rows.append(
            right=right_if_known(seen.logits, seen.labels),
            additive=torch.stack([right_if_known(z, seen.labels) for z in projections], 1),
            flipped=torch.stack([flipped(seen.logits, z) for z in projections], 1),
        )

    def merge(self, other: Any) -> None:
        """Take in the examples of another copy."""
        super().merge(other)
        self._looked += other._looked
        self._logits.merge(other._logits)
        self._residual.merge(other._residual)

    def result(self) -> xr.Dataset:
        """Return the accuracies with and without interaction, and how large it is.

        Raises:
            NotAttachedError: nothing was observed yet.
            NotApplicableError: no batch had two examples.
        """
        if not len(self._rows):
            raise self.nothing_exchanged()
        table, names = self._rows.on_host(), list(self._modalities)
        right = np.repeat(table["right"][:, None], len(names), axis=1)
        columns = np.stack([right, table["additive"], table["flipped"]], 1)
        draws = self.resample(columns, names).swapaxes(0, 1)
        values = columns.mean(0, dtype=np.float64)
        spread = deviation(self._logits)
        spread = spread.masked_fill(spread == 0, torch.nan)
        variables = {
            "accuracy": schema.variable(
                (), values[0, 0], units="1", long_name="accuracy of the model", formula=_CORRECT
            ),
            "interaction": schema.variable(
                ("modality",),
                (self._residual.mean.sqrt() / spread).cpu().numpy(),
                units="1",
                long_name="how far the logits are from their projection, relative to how far they "
                "vary",
                formula=_PROJECTION,
            ),
            **self.estimate(
                "additive_accuracy",
                ("modality",),
                values[1],
                draws[1],
                long_name="accuracy of the projection",
                formula=_PROJECTION,
            ),
            **self.estimate(
                "gap",
                ("modality",),
                values[0] - values[1],
                draws[0] - draws[1],
                long_name="accuracy of the model, minus that of the projection",
                formula=_PROJECTION,
            ),
            **self.estimate(
                "flip_rate",
                ("modality",),
                values[2],
                draws[2],
                long_name="share of the answers that change in the projection",
                formula=_PROJECTION,
            ),
        }
        return schema.dataset(
            variables,
            {"modality": names, "bound": ["low", "high"]},
            settings=self.settings(),
            examples=len(self._rows),
            left_out=self._left_out,
            batches=self._looked,
            labeled=not np.isnan(values[0, 0]),
        )


def _shifted(seen: Observation, name: str) -> Iterator[Tensor]:
    """Give the logits of all pairs of the modality and the rest, one shift at a time."""
    yield seen.logits
    for draw in range(1, len(seen.logits)):
        yield seen.coalitions({name}, fill="shift", draw=draw)


PROBE = Emap
