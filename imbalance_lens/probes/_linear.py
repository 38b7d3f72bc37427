"""Linear classifiers on features, fitted by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import NotApplicableError

NOTHING = -1
"""What is predicted from features that are NaN or infinite, or where there are none to fit on."""

Fold = tuple[np.ndarray, np.ndarray]
"""Positions of the examples to fit on, and of those to predict."""


class Predicted(NamedTuple):
    """What classifiers predict of examples that they were not fitted on.

    Attributes:
        classes: (rows,); `NOTHING` where a row is in no fold's second part.
        fit_accuracy: on the examples that they were fitted on.
        converged: whether all fits ended because they could not get better.
    """

    classes: np.ndarray
    fit_accuracy: float
    converged: bool


def folds_of(labels: np.ndarray, tested: int, *, most: int, seed: int) -> list[Fold]:
    """Return what is fitted on and what is tested.

    Args:
        labels: (rows,), those of the rows to test first, then those of rows that are only fitted
            on; without any of these the rows to test are cross-validated.
        tested: how many rows are tested.
        most: folds of a cross-validation; fewer where the largest class has fewer examples.
        seed: of the folds, which are stratified.

    Raises:
        NotApplicableError: there is too little to fit on.
    """
    fit = np.arange(tested, len(labels)) if len(labels) > tested else np.arange(tested)
    largest = int(np.bincount(labels[fit]).max())
    if largest == len(fit):
        raise NotApplicableError("all examples to fit a classifier on have the same label")
    if len(labels) > tested:
        return [(fit, np.arange(tested))]
    if largest < 2:
        raise NotApplicableError(
            "no class has two examples, one to fit a classifier on and one to test it with; give "
            "examples to fit on with diagnose(..., train=...)"
        )
    from sklearn.model_selection import StratifiedKFold

    parts = StratifiedKFold(min(most, largest), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # about classes with fewer examples than folds, which some folds then lack
        warnings.simplefilter("ignore", UserWarning)
        return list(parts.split(labels, labels))


def predict(
    features: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[Fold],
    *,
    inverse_penalty: float,
    max_iter: int,
) -> Predicted:
    """Fit logistic regression on the standardized features of each fold, and predict.

    Args:
        features: (rows, channels).
        labels: (rows,).
        folds: whose second parts have no row in common.
        inverse_penalty: `C` of scikit-learn.
        max_iter: steps of its solver.
    """
    from sklearn import config_context
    from threadpoolctl import threadpool_limits

    known = np.all(np.isfinite(features), axis=1)
    classes = np.full(len(labels), NOTHING)
    right: list[np.ndarray] = []
    converged = True
    # These products are small, and threads that wait for each other take far longer than one.
    # Only finite rows are handed over, so scikit-learn need not look again at each step.
    with threadpool_limits(1), config_context(assume_finite=True, skip_parameter_validation=True):
        for fit, test in folds:
            fit, test = fit[known[fit]], test[known[test]]
            if not len(fit):
                continue
            model, ended = _fitted(features[fit], labels[fit], inverse_penalty, max_iter)
            converged &= ended
            right.append(model.predict(features[fit]) == labels[fit])
            if len(test):
                classes[test] = model.predict(features[test])
    accuracy = float(np.concatenate(right).mean()) if right else np.nan
    return Predicted(classes, accuracy, converged and bool(right))


def _fitted(
    features: np.ndarray, labels: np.ndarray, inverse_penalty: float, max_iter: int
) -> tuple[Any, bool]:
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(labels)) < 2:  # logistic regression refuses to say the only thing it can
        return DummyClassifier().fit(features, labels), True
    classifier = LogisticRegression(C=inverse_penalty, max_iter=max_iter)
    model = make_pipeline(StandardScaler(), classifier)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(features, labels)
    return model, not any(issubclass(note.category, ConvergenceWarning) for note in said)
