"""What a trained model is worth on data that nothing was chosen by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from imbalance_lens import formulas, schema
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.outputs import LogitsOf
from imbalance_lens.batches import Split
from imbalance_lens.diagnosis import diagnose
from imbalance_lens.errors import BatchError
from imbalance_lens.observation import Need, Observation
from imbalance_lens.probes._base import Probe

if TYPE_CHECKING:
    import xarray as xr

JOINT_SCORES = ("accuracy", "map", "macro_f1", "ece")
"""Of the model's own logits, in the order of tables."""

_TOLD = {
    "accuracy": ("accuracy of the model", "imbalance_lens.formulas.scores.correct"),
    "map": (
        "average precision, mean over the classes that occur",
        "sklearn.metrics.average_precision_score",
    ),
    "macro_f1": ("F1 score, mean over the classes", "sklearn.metrics.f1_score"),
    "ece": (
        "expected calibration error, 15 bins",
        "imbalance_lens.formulas.calibration.expected_calibration_error",
    ),
}


def score_names(modalities: Iterable[str]) -> list[str]:
    """Return the names of all scores, in the order of tables."""
    names = list(modalities)
    return [*JOINT_SCORES, *map(probe_name, names), *map(ratio_name, names)]


def probe_name(modality: str) -> str:
    """Return the name of a modality's linear probe accuracy."""
    return f"linear_probe {modality}"


def ratio_name(modality: str) -> str:
    """Return the name of a modality's discrepancy ratio."""
    return f"ratio {modality}"


def scores_of(
    model: nn.Module,
    loaders: Mapping[str, Iterable[Any]],
    anatomy: Anatomy,
    *,
    joint_is_trained: bool,
    split: Split | None,
    logits: LogitsOf | None,
) -> tuple[dict[str, float], list[str]]:
    """Measure a model on "test"; its linear probes are fitted on "train".

    Returns:
        The scores by name, and why some have none; those are NaN.

    Raises:
        BatchError: the test data has no labels.
    """
    report = diagnose(
        model,
        loaders["test"],
        anatomy,
        probes=[JointScores(), "linear_probe", "discrepancy"],
        train=loaders["train"],
        split=split,
        logits=logits,
        progress=False,
    )
    joint = JointScores.__module__.rpartition(".")[2]
    if joint in report.skipped:
        raise BatchError(f"The test data gives no scores: {report.skipped[joint]}.")
    found = dict.fromkeys(score_names(anatomy.modalities), float("nan"))
    notes = [f"{name}: {why}" for name, why in report.skipped.items()]
    if "linear_probe" not in report.skipped:
        accuracy = report.tree["linear_probe"]["accuracy"]
        found |= {probe_name(m): accuracy.sel(head=m).item() for m in anatomy.modalities}
    if not joint_is_trained:
        notes.append("its joint head was not trained, so what rests on that has no value")
        return found, notes
    found |= {name: report.tree[joint][name].item() for name in JOINT_SCORES}
    if "discrepancy" not in report.skipped:
        ratio = report.tree["discrepancy"]["total_ratio"]
        found |= {ratio_name(m): ratio.sel(modality=m).item() for m in anatomy.modalities}
    return found, notes


@dataclass(eq=False)
class JointScores(Probe):
    """Scores the model's own logits as tables in papers do: accuracy, mAP, macro-F1 and ECE.

    Memory: the logits of all examples, as average precision ranks them.
    """

    needs = (Need.LABELS,)
    _logits: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _labels: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def observe(self, seen: Observation) -> None:
        """Keep the logits and labels of one batch."""
        self._logits.append(seen.logits.clone())
        self._labels.append(seen.labels.clone())

    def merge(self, other: Self) -> None:
        """Take in the examples of another copy."""
        self._logits += other._logits
        self._labels += other._labels

    def result(self) -> xr.Dataset:
        """Return one number per score; NaN where a logit is not finite."""
        if not self._logits:
            raise self.nothing_seen()
        logits, labels = torch.cat(self._logits).cpu().float(), torch.cat(self._labels).cpu()
        right = formulas.correct(logits, labels)
        confidence = formulas.top_confidence(logits)
        values = {
            "accuracy": float(right.double().mean()),
            "ece": float(formulas.expected_calibration_error(confidence, right)),
            **_ranked(logits, labels),
        }
        variables = {
            name: schema.variable((), values[name], units="1", long_name=told, formula=formula)
            for name, (told, formula) in _TOLD.items()
        }
        return schema.dataset(variables, {}, settings=self.settings())


def _ranked(logits: Tensor, labels: Tensor) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, f1_score

    if not bool(torch.isfinite(logits).all()):
        return {"map": float("nan"), "macro_f1": float("nan")}
    probabilities, truth = logits.softmax(1).numpy(), labels.numpy()
    precisions = [
        average_precision_score(truth == label, probabilities[:, label])
        for label in np.unique(truth)
    ]
    guesses = logits.argmax(1).numpy()
    absent: Any = 0.0  # "warn" is all that its annotation knows
    macro = f1_score(truth, guesses, average="macro", zero_division=absent)
    return {"map": float(np.mean(precisions)), "macro_f1": float(macro)}
