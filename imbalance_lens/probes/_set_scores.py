"""From scores per example and set of modalities to what is said about sets and modalities.

A table holds one row per example: `label` (examples,), and `correct`, `confidence` and perhaps
`probability`, (examples, sets) and (examples, sets, classes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import schema
from ._resampled import Resampled

if TYPE_CHECKING:
    import xarray as xr

_Of = Callable[[np.ndarray, Sequence[frozenset[str]]], np.ndarray]


def evaluated_sets(modalities: Sequence[str]) -> list[frozenset[str]]:
    """Return none, each modality alone, all but each one, and all, the small ones first."""
    everyone = frozenset(modalities)
    alone = [frozenset({name}) for name in modalities]
    without = [everyone - {name} for name in reversed(modalities)]
    return list(dict.fromkeys([frozenset(), *alone, *without, everyone]))


def set_scores(
    table: Mapping[str, np.ndarray], sets: Sequence[frozenset[str]], probe: Resampled
) -> dict[str, xr.Variable]:
    """Return the mean scores of sets, of modalities and of pairs, each with its interval."""
    columns = np.stack([table[name] for name in _FORMULAS], 1).astype(np.float64)
    draws = probe.resample(columns, [sorted(present) for present in sets])
    means = dict(zip(_FORMULAS, columns.mean(0), strict=True))
    drawn = dict(zip(_FORMULAS, draws.swapaxes(0, 1), strict=True))
    variables = {}
    for name, score in _SCORES.items():
        variables |= probe.estimate(
            name,
            score.dims,
            score.of(means[score.column], sets),
            score.of(drawn[score.column], sets),
            long_name=score.long_name,
            formula=_FORMULAS[score.column],
        )
    return variables


def class_scores(table: Mapping[str, np.ndarray], examples: np.ndarray) -> dict[str, xr.Variable]:
    """Return the mean scores per class, of which `examples` (classes,) are there."""
    means = {name: class_means(table["label"], table[name], examples) for name in _FORMULAS}
    dims = ("coalition", "label")
    return {
        "class_accuracy": schema.variable(
            dims,
            means["correct"],
            units="1",
            long_name="accuracy on the examples of a class",
            formula=_FORMULAS["correct"],
        ),
        "class_confidence": schema.variable(
            dims,
            means["confidence"],
            units="1",
            long_name="mean probability of the true class on the examples of a class",
            formula=_FORMULAS["confidence"],
        ),
        "class_examples": schema.variable(
            ("label",),
            examples,
            units="example",
            long_name="examples of a class",
            formula="numpy.bincount",
        ),
    }


def class_means(labels: np.ndarray, columns: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Return the means per class (columns, classes); NaN for a class without examples."""
    sums = [np.bincount(labels, column, len(examples)) for column in columns.T]
    with np.errstate(invalid="ignore"):  # 0 / 0: no example of that class
        return np.stack(sums) / examples


def mean_average_precision(
    table: Mapping[str, np.ndarray], sets: int, examples: np.ndarray
) -> np.ndarray:
    """Return scikit-learn's macro average precision (sets,); NaN where it cannot be told."""
    from sklearn import config_context
    from sklearn.metrics import average_precision_score

    answer = np.full(sets, np.nan)
    if "probability" not in table:
        return answer
    # scikit-learn warns about absent classes, counts them 0 and averages over all. Class by
    # class, each contiguous, it takes half the time of the whole matrix.
    present = np.flatnonzero(examples)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for k in np.flatnonzero(~np.isnan(table["confidence"]).any(0)):
            by_class = np.ascontiguousarray(table["probability"][:, k].T)
            scores = [average_precision_score(table["label"] == c, by_class[c]) for c in present]
            answer[k] = sum(scores) / len(examples)
    return answer


def _each(means: np.ndarray, sets: Sequence[frozenset[str]]) -> np.ndarray:  # noqa: ARG001
    return means


def _alone(means: np.ndarray, sets: Sequence[frozenset[str]]) -> np.ndarray:
    return means[..., [k for k, present in enumerate(sets) if len(present) == 1]]


def _drop(means: np.ndarray, sets: Sequence[frozenset[str]]) -> np.ndarray:
    without = [sets.index(sets[-1] - present) for present in sets if len(present) == 1]
    return means[..., -1:] - means[..., without]


def _gap(of: _Of) -> _Of:
    def gap(means: np.ndarray, sets: Sequence[frozenset[str]]) -> np.ndarray:
        values = of(means, sets)
        return values[..., :, None] - values[..., None, :]

    return gap


class _Score(NamedTuple):
    """A number made of the mean of one column per set, (..., sets) -> (..., *dims)."""

    column: str
    of: _Of
    dims: tuple[str, ...]
    long_name: str


_PAIR = ("modality", "other")
_SCORES = {
    "accuracy": _Score(
        "correct", _each, ("coalition",), "accuracy with only these modalities present"
    ),
    "confidence": _Score(
        "confidence",
        _each,
        ("coalition",),
        "mean probability of the true class with only these modalities present",
    ),
    "alone": _Score("correct", _alone, ("modality",), "accuracy with only this modality present"),
    "drop": _Score("correct", _drop, ("modality",), "accuracy lost when this modality is left out"),
    "confidence_drop": _Score(
        "confidence",
        _drop,
        ("modality",),
        "mean probability of the true class lost when this modality is left out",
    ),
    "alone_gap": _Score(
        "correct", _gap(_alone), _PAIR, "accuracy alone, minus that of the other modality"
    ),
    "drop_gap": _Score(
        "correct", _gap(_drop), _PAIR, "accuracy lost, minus that for the other modality"
    ),
    "confidence_gap": _Score(
        "confidence",
        _gap(_alone),
        _PAIR,
        "mean probability of the true class alone, minus that of the other modality",
    ),
}
_FORMULAS = {
    "correct": "imbalance_lens.formulas.scores.correct",
    "confidence": "imbalance_lens.formulas.scores.label_confidence",
}
