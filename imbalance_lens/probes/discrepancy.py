"""How far each modality is ahead of the others, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from .. import formulas, schema
from ..observation import Need, Observation
from ._base import Probe

if TYPE_CHECKING:
    import xarray as xr


@dataclass(eq=False)
class Discrepancy(Probe):
    """Follows the modalities' scores and their ratio over the steps of a training.

    The score of a modality is the true-class probability of its own logits, summed over the
    examples of a step; the ratio is the mean over the other modalities of score over score (Wei
    et al., TPAMI 2024, eq. 6 and 7). It is what OGM-GE and OPM act on. Micro-batches and ranks of
    one step are summed before the ratio is taken. In a diagnosis every batch is a step.

    Cost: what reading the modalities' own logits costs. Memory: 8 (M + 1) bytes per step.

    Example:
        >>> audio, visual = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
        >>> seen = Observation(
        ...     labels=torch.tensor([0]),
        ...     logits=audio + visual,
        ...     modalities=("audio", "visual"),
        ...     modality_logits={"audio": audio, "visual": visual},
        ... )
        >>> probe = Discrepancy()
        >>> probe.observe(seen)
        >>> round(probe.result()["ratio"].sel(step=0, modality="audio").item(), 4)
        1.7616
    """

    needs = (Need.LABELS, Need.MODALITY_LOGITS)
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _scores: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)
    _examples: dict[int, int] = field(default_factory=dict, init=False, repr=False)
    _epochs: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def observe(self, seen: Observation) -> None:
        """Add the scores of one batch to those of its step."""
        self._modalities = tuple(seen.modality_logits)
        confidences = [
            formulas.label_confidence(logits, seen.labels).double().sum()
            for logits in seen.modality_logits.values()
        ]
        self._add(seen.step, torch.stack(confidences), len(seen.labels), seen.epoch)

    def merge(self, other: Self) -> None:
        """Add the scores of another copy, step by step."""
        self._modalities = self._modalities or other._modalities
        for step, scores in other._scores.items():
            self._add(step, scores, other._examples[step], other._epochs[step])

    def result(self) -> xr.Dataset:
        """Return score and ratio over (step, modality), and of all steps together.

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        if not self._scores:
            raise self.nothing_seen()
        steps = sorted(self._scores)
        scores = torch.stack([self._scores[step].cpu() for step in steps])
        counts = torch.tensor([self._examples[step] for step in steps])

        def ratio(rows: Tensor) -> Tensor:
            by_name = dict(zip(self._modalities, rows.unbind(-1), strict=True))
            return torch.stack(list(formulas.discrepancy_ratio(by_name).values()), -1)

        ahead = "imbalance_lens.formulas.discrepancy.discrepancy_ratio"
        confidence = "imbalance_lens.formulas.scores.label_confidence"
        variables = {
            "score": schema.variable(
                ("step", "modality"),
                (scores / counts[:, None]).numpy(),
                units="1",
                long_name="mean true-class probability of the modality's own logits",
                formula=confidence,
            ),
            "ratio": schema.variable(
                ("step", "modality"),
                ratio(scores).numpy(),
                units="1",
                long_name="discrepancy ratio; above 1 the modality is ahead",
                formula=ahead,
            ),
            "total_score": schema.variable(
                ("modality",),
                (scores.sum(0) / counts.sum()).numpy(),
                units="1",
                long_name="mean true-class probability, all steps together",
                formula=confidence,
            ),
            "total_ratio": schema.variable(
                ("modality",),
                ratio(scores.sum(0)).numpy(),
                units="1",
                long_name="discrepancy ratio of all steps together",
                formula=ahead,
            ),
            "step_examples": schema.variable(
                ("step",),
                counts.numpy(),
                units="example",
                long_name="examples of a step",
                formula="imbalance_lens.probes.discrepancy.Discrepancy",
            ),
        }
        coords = {
            "step": steps,
            "modality": list(self._modalities),
            "step_epoch": ("step", [self._epochs[step] for step in steps]),
        }
        return schema.dataset(variables, coords, settings=self.settings())

    def _add(self, step: int, scores: Tensor, examples: int, epoch: int) -> None:
        if step in self._scores:
            before = self._scores[step]
            self._scores[step] = before + scores.to(before.device)
            self._examples[step] += examples
        else:
            self._scores[step], self._examples[step] = scores, examples
            self._epochs[step] = epoch


PROBE = Discrepancy
