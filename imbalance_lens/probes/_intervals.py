"""Bootstrap intervals of means over examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BYTES_PER_DRAW = 40  # of one example in one resample: index, sample, offset, count, weight
_BUDGET = 40 * 2**20


def resampled_means(
    columns: np.ndarray, sort_by: Sequence[int], *, resamples: int, seed: int
) -> np.ndarray:
    """Return the means of all columns over the same resampled examples.

    Args:
        columns: (examples, columns); a NaN, or an infinite number, makes the means of its own
            column NaN.
        sort_by: the columns, in an order that does not depend on how a user orders anything. The
            rows are sorted by them before any is drawn, so that their order changes nothing.
        resamples: how often as many examples are drawn, with replacement.
        seed: of the draws.

    Returns:
        (resamples, columns); differences of its columns are paired. NaN with one example, which
        says nothing about the spread.
    """
    from scipy.stats import bootstrap

    examples, width = columns.shape
    if examples < 2:
        return np.full((resamples, width), np.nan)
    columns = columns[np.lexsort(columns.T[list(sort_by)])]
    unknown = ~np.isfinite(columns).all(0)
    known = np.where(unknown, 0.0, columns)  # numpy and scipy warn about what is not finite

    def means(drawn: np.ndarray, axis: int) -> np.ndarray:  # noqa: ARG001 - scipy hands it over
        # Counting how often each example was drawn once serves all columns, in one product.
        offsets = examples * np.arange(len(drawn))[:, None]
        counts = np.bincount((drawn + offsets).ravel(), minlength=drawn.size)
        return (counts.reshape(drawn.shape) @ known).T / examples

    drawn = bootstrap(
        (np.arange(examples),),
        means,
        n_resamples=resamples,
        batch=max(1, _BUDGET // (_BYTES_PER_DRAW * examples)),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return np.where(unknown, np.nan, drawn.bootstrap_distribution.T)


def interval(draws: np.ndarray, confidence_level: float) -> np.ndarray:
    """Return the percentile interval of a statistic.

    Args:
        draws: (resamples, ...), the statistic in each resample.
        confidence_level: share of the draws that lie inside.

    Returns:
        (..., 2), its low and high end; NaN where a draw is NaN.
    """
    tail = (1 - confidence_level) / 2
    return np.moveaxis(np.quantile(draws, [tail, 1 - tail], axis=0), 0, -1)
