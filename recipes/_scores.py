"""The modalities' own logits and scores, measured once per training pass for all recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_lens import checks, formulas
from imbalance_lens.anatomy.linear_fusion import LinearFusion
from imbalance_lens.anatomy.readout import ADDITIVE, Readout, choose_readout, read_logits
from imbalance_lens.anatomy.replay import Replay
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.anatomy.sites import Recorded, Recording
from imbalance_lens.anatomy.staging import TrainingPass
from imbalance_lens.errors import SettingError
from imbalance_lens.trees import clone

from ._base import Run, Seen
from ._distributed import sum_over_ranks
from ._heads import UnimodalHeads
from ._history import ERROR, RATIO, SCORE

READOUTS = ("auto", "linear_split", "heads", "zero_out")


@dataclass
class Scorer:
    """Reads the modalities' own logits out of a training pass, without a graph.

    Attributes:
        kind: "heads", "linear_split" or "zero_out", as in `Readout`.
        readout: what was found out about the head; None where heads are used.
        exact: the linear head, where its weights can be split without a pass of it.
    """

    kind: str
    model: nn.Module
    replayer: Replayer
    readout: Readout | None = None
    exact: LinearFusion | None = None
    heads: UnimodalHeads | None = None

    @torch.no_grad()
    def logits(self, seen: TrainingPass, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each modality's own logits (batch, classes), of features before any edit.

        Args:
            seen: the pass; its encoders have run.
            features: the first tensor of each modality's signal in it.
        """
        if self.heads is not None and self.kind == "heads":
            return self.heads({name: tensor.detach() for name, tensor in features.items()})
        if self.exact is not None:
            return self.exact.logits(self.model, features)
        if self.readout is None:
            raise RuntimeError("a scorer has heads, a linear head or a readout")
        with self.replayer:
            replay = self.replayer.replay(seen.call, _copied(seen.recorded))
            return read_logits(self.readout, replay)


class StepScores:
    """The scores of an optimizer step: measured per training pass, summed over all of them."""

    def __init__(self, scorer: Scorer | None) -> None:
        self._scorer = scorer
        self._sums: Tensor | None = None
        self.of_pass: dict[str, Tensor] = {}

    def measure(
        self,
        seen: TrainingPass,
        features: Mapping[str, Tensor],
        labels: Tensor,
        *,
        regression: bool,
        own: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the scores of a pass, of this rank; measured once.

        Args:
            seen: the pass; its encoders have run.
            features: before any edit.
            labels: of its examples.
            regression: whether the labels are numbers.
            own: the heads' logits, where they are known already.
        """
        if self._scorer is None or self.of_pass:
            return self.of_pass
        known = own if own and self._scorer.kind == "heads" else None
        with torch.no_grad():
            logits = known or self._scorer.logits(seen, features)
            detached = {name: given.detach() for name, given in logits.items()}
            self.of_pass = summed_scores(detached, labels, regression=regression)
        return self.of_pass

    def over_ranks(self) -> dict[str, Tensor]:
        """Return the scores of the pass, summed over all ranks."""
        together = sum_over_ranks(torch.stack([*self.of_pass.values()]))
        return dict(zip(self.of_pass, together.unbind(), strict=True))

    def add(self, examples: int) -> None:
        """Add those of the pass to those of the step."""
        if self.of_pass:
            scores = torch.stack([*self.of_pass.values()]).double()
            row = torch.cat([scores, scores.new_full((1,), float(examples))])
            self._sums = row if self._sums is None else self._sums + row
            self._names = tuple(self.of_pass)

    def take(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the scores of the step and its number of examples, over all ranks; start anew."""
        if self._sums is None:
            return {}, torch.tensor(0)
        *scores, examples = sum_over_ranks(self._sums).unbind()
        self._sums = None
        return dict(zip(self._names, scores, strict=True)), examples


def scorer_for(
    wanted: str,
    replay: Replay,
    replayer: Replayer,
    fusion: LinearFusion | None,
    heads: UnimodalHeads | None,
) -> Scorer:
    """Choose how scores are read, from one replayed batch.

    "auto" is: the linear split where the head adds up; the heads where there are any; else the
    zeroed features of the other modalities.

    Args:
        wanted: one of `READOUTS`.
        replay: of a batch of two or more examples.
        replayer: of the model.
        fusion: the linear layer over concatenated features, where there is one.
        heads: trained or given unimodal heads.

    Raises:
        SettingError: the wanted readout is not defined for this model, or none is.
    """
    checks.one_of("readout", wanted, READOUTS)
    model = replayer.model
    if wanted == "heads":
        if heads is None:
            raise SettingError(
                "readout='heads' needs unimodal heads. Pass heads={modality: module}, or add a "
                "recipe that trains them, such as 'multi_loss'."
            )
        return Scorer("heads", model, replayer, heads=heads)
    found = choose_readout(replay)
    if found.kind == "linear_split" and wanted in ("auto", "linear_split"):
        exact = fusion if fusion is not None and fusion.is_head else None
        return Scorer("linear_split", model, replayer, found, exact)
    if wanted == "linear_split":
        raise SettingError(
            "readout='linear_split' needs a head that adds up over the modalities; this one's "
            f"interaction is {found.additivity_gap:.2g} of its logits, and {ADDITIVE:g} is "
            "allowed. Use readout='zero_out', or 'heads'."
        )
    if heads is not None and wanted == "auto":
        return Scorer("heads", model, replayer, heads=heads)
    silent = [name for name, known in found.identifiable.items() if not known]
    if silent:
        raise SettingError(
            f"The logits of {' and '.join(map(repr, silent))} alone cannot be read out of this "
            "head: they are the same for every example when the other features are zero (gated, "
            "FiLM and bilinear fusion do that). Pass readout='heads' and heads={modality: module}, "
            "or add a recipe that trains heads, such as 'multi_loss'."
        )
    return Scorer("zero_out", model, replayer, dataclasses.replace(found, kind="zero_out"))


def summed_scores(
    logits: Mapping[str, Tensor], labels: Tensor, *, regression: bool
) -> dict[str, Tensor]:
    """Return each modality's summed true-class probability, or for numbers its squared error.

    Args:
        logits: modality -> (batch, classes).
        labels: (batch,) class indices; for a regression numbers of the logits' shape.
        regression: whether the labels are numbers.
    """
    if regression:
        return {name: _squared_error(given, labels).sum() for name, given in logits.items()}
    return {name: formulas.label_confidence(given, labels).sum() for name, given in logits.items()}


def record_scores(run: Run, seen: Seen) -> None:
    """Write a step's mean scores, and for classes their ratios, into the history."""
    means = {name: score / seen.examples for name, score in seen.scores.items()}
    run.record(ERROR if run.regression else SCORE, means)
    if not run.regression:
        run.record(RATIO, formulas.discrepancy_ratio(seen.scores))


def _squared_error(given: Tensor, labels: Tensor) -> Tensor:
    return (given.float() - labels.reshape(given.shape)).square().flatten(1).mean(1)


def _copied(recorded: Recording) -> Recording:
    calls: dict[Any, list[Recorded]] = {
        target: [made._replace(output=clone(made.output)) for made in calls]
        for target, calls in recorded.calls.items()
    }
    return recorded._replace(calls=calls)
