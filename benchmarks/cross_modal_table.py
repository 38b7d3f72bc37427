"""What came of the trainings of `benchmarks.cross_modal_init`, side by side."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from scipy import stats

Found = Sequence[Mapping[str, Any]]


def show(found: Found, thresholds: Sequence[float]) -> dict[str, Any]:
    """Print accuracies, channels and differences, and return them.

    Args:
        found: what each training found; every setting on the same folds.
        thresholds: bounds of tiny parameters.
    """
    settings = list(dict.fromkeys(row["setting"] for row in found))
    of = {name: [row for row in found if row["setting"] == name] for name in settings}
    accuracies = {name: [row["accuracy"] for row in rows] for name, rows in of.items()}
    folds = "".join(f"{row['fold']:8}" for row in of[settings[0]])
    print(f"\n{'test accuracy % at fold':24}{folds}{'mean':>8}  std")
    for name, values in accuracies.items():
        cells = "".join(f"{100 * value:8.1f}" for value in values)
        mean, spread = _mean_and_deviation(values)
        print(f"{name:24}{cells}{100 * mean:8.1f} {100 * spread:4.1f}")
    channels = {name: _channels(rows, thresholds) for name, rows in of.items()}
    print(f"\n{'channels %, mean of folds':40}{'before':>8}{'after':>8}")
    for name, counted in channels.items():
        for what, share in counted.items():
            print(f"{f'{name}: {what}':40}{100 * share['before']:8.2f}{100 * share['after']:8.2f}")
    print("\npaired difference of accuracies, 95 % interval over folds; clips that one gets right")
    differences = {}
    for first, second in combinations(settings, 2):
        gap = difference(of[first], of[second])
        differences[f"{second} - {first}"] = gap
        print(
            f"{f'{second} - {first}':44}{100 * gap['mean']:6.1f} "
            f"({100 * gap['low']:.1f} to {100 * gap['high']:.1f}), p = {gap['p_value']:.3f}; "
            f"{gap['gained']} against {gap['lost']}, p = {gap['p_value_of_clips']:.3f}"
        )
    runs = [{**row, "right": "".join(map(str, row["right"]))} for row in found]
    return {"runs": runs, "channels": channels, "differences": differences}


def difference(first: Found, second: Found) -> dict[str, float]:
    """Return how much better the second is, with two tests.

    The t-test is over folds, of which there are few and which share their training clips; the
    exact sign test (McNemar's) is over the clips of all folds, as if each were alone.
    """
    ours, theirs = ([row["accuracy"] for row in rows] for rows in (second, first))
    paired = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, sem = statistics.fmean(paired), stats.sem(paired)
    low, high = stats.t.interval(0.95, len(paired) - 1, mean, sem) if sem else (mean, mean)
    before, after = ([hit for row in rows for hit in row["right"]] for rows in (first, second))
    gained = sum(b > a for a, b in zip(before, after, strict=True))
    lost = sum(a > b for a, b in zip(before, after, strict=True))
    return {
        "mean": mean,
        "low": float(low),
        "high": float(high),
        "p_value": float(stats.ttest_rel(ours, theirs).pvalue) if sem else 1.0,
        "gained": gained,
        "lost": lost,
        "p_value_of_clips": float(stats.binomtest(gained, gained + lost).pvalue)
        if gained + lost
        else 1.0,
    }


def _channels(rows: Found, thresholds: Sequence[float]) -> dict[str, dict[str, float]]:
    """Return shares of the channels that were looked at, before and after, means of the folds."""
    shares: dict[str, dict[str, float]] = {}
    for when in ("before", "after"):
        counted = [row["channels"][when] for row in rows]
        for bound in thresholds:
            each = [c["abnormal"][str(bound)] / c["channels"] for c in counted]
            shares.setdefault(f"abnormal at {bound:g}", {})[when] = statistics.fmean(each)
        for place, told in {"all": "dead", "behind_batchnorm": "dead behind BatchNorm"}.items():
            each = [c[f"dead_{place}"] / c[f"seen_{place}"] for c in counted]
            shares.setdefault(told, {})[when] = statistics.fmean(each)
    return shares


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return statistics.fmean(values), spread
