"""What a comparison has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_lens import checks, schema
from imbalance_lens.registry import unknown

from .choices import Choice
from .scores import ratio_name, score_names
from .table import FORMATS, NOTEBOOK, Cell, written

if TYPE_CHECKING:
    import xarray as xr

COSTS = ("time_ratio", "flops_ratio")
SIGNIFICANT = 0.05
"""Below which probability a difference is marked."""

_HOME = "recipes.compare"


@dataclass(frozen=True)
class Finished:
    """What came of one run.

    Attributes:
        modalities: their names; empty where the run failed.
        scores: by name; NaN where there is none.
        seconds: that the training took, validation included.
        best_epoch: by validation, from 0; None without.
        notes: why some scores have no value.
        failure: why the run failed; "" where it did not.
    """

    modalities: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float = float("nan")
    best_epoch: int | None = None
    notes: Sequence[str] = ()
    failure: str = ""


@dataclass(frozen=True)
class Comparison:
    """Recipes that were compared.

    Attributes:
        dataset: `value` over (recipe, seed, metric); `p_value` over (recipe, metric), of the
            paired t-test over seeds against plain joint training; `seconds` and `best_epoch` over
            (recipe, seed) and `operations` over (recipe). A dataset that was saved and opened
            again will do.
    """

    dataset: xr.Dataset

    @property
    def protocol(self) -> dict[str, Any]:
        """Epochs, settings, versions, and for each seed the hashes of data and first weights."""
        return schema.from_json(self.dataset.attrs["protocol"])

    @property
    def failures(self) -> dict[str, dict[str, str]]:
        """Why runs failed: recipe -> seed -> reason."""
        return schema.from_json(self.dataset.attrs["failures"])

    @property
    def notes(self) -> dict[str, dict[str, list[str]]]:
        """Why some numbers have no value: recipe -> seed -> reasons."""
        return schema.from_json(self.dataset.attrs["notes"])

    def table(self, form: str = "text", *, metrics: Iterable[str] | None = None) -> str:
        """Return mean and standard deviation over the seeds, a row per recipe.

        The best of each column is bold, in text between `**`: the highest score, the lowest
        calibration error, the ratio of modalities next to 1; of costs none. A star marks what
        differs from plain joint training with p < 0.05 by a paired t-test over the seeds, not
        corrected for the number of recipes.

        Args:
            form: "text", "csv" (a line per recipe and metric, unrounded) or "latex" (booktabs).
            metrics: which, in this order. Default: all.

        Raises:
            SettingError: another form.
            UnknownNameError: no metric of a name.
        """
        checks.one_of("form", form, FORMATS)
        known = [str(name) for name in self.dataset["metric"].values]
        names = known if metrics is None else list(metrics)
        for name in names:
            if name not in known:
                raise unknown("metric", name, known)
        return self._written(form, names)

    def _written(self, form: str, names: Iterable[str]) -> str:
        labels = [str(label) for label in self.dataset["recipe"].values]
        columns = {name: self._column(name, labels) for name in names}
        return written(form, labels, columns, self._footnotes())

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return self._written(NOTEBOOK, map(str, self.dataset["metric"].values))

    def _column(self, metric: str, labels: list[str]) -> list[Cell]:
        values = self.dataset["value"].sel(metric=metric)
        rows = [values.sel(recipe=label).values for label in labels]
        known = [row[np.isfinite(row)] for row in rows]
        means = np.array([row.mean() if len(row) else np.nan for row in known])
        one = metric == "flops_ratio"  # counted once, whatever the seed
        spread = [np.nan if one or len(row) < 2 else row.std(ddof=1) for row in known]
        p_values = self.dataset["p_value"].sel(metric=metric)
        best = _best(metric, means)
        return [
            Cell(
                mean=float(means[place]),
                std=float(spread[place]),
                seeds=len(known[place]),
                p_value=float(p_values.sel(recipe=label)),
                best=bool(means[place] == best),
                significant=bool(p_values.sel(recipe=label) < SIGNIFICANT),
                percent=not metric.startswith("ratio ") and metric not in COSTS,
            )
            for place, label in enumerate(labels)
        ]

    def _footnotes(self) -> list[str]:
        count = self.dataset.sizes["seed"]
        base = self.dataset.attrs["baseline"]
        spread = "mean ± standard deviation over" if count > 1 else "of"
        lines = [f"{self.protocol['epochs']} epochs, {spread} {count} seed{'s' * (count > 1)}"]
        if bool((self.dataset["p_value"] < SIGNIFICANT).any()):
            lines.append(
                f"* p < {SIGNIFICANT} against {base}, paired t-test over seeds, not corrected"
            )
        failures = {
            label: {seed: [reason] for seed, reason in runs.items()}
            for label, runs in self.failures.items()
        }
        return [*lines, *_told("", self.notes), *_told(" failed", failures)]


def comparison_of(
    choices: Sequence[Choice],
    seeds: Sequence[int],
    rows: Mapping[tuple[str, int], Finished],
    operations: Mapping[str, float],
    *,
    protocol: Mapping[str, Any],
) -> Comparison:
    """Return finished runs as a comparison; what is missing is NaN."""
    labels = [choice.label for choice in choices]
    base = next(place for place, choice in enumerate(choices) if choice.is_baseline)
    modalities = next(run.modalities for run in rows.values() if run.modalities)
    scores = score_names(modalities)
    runs = [[rows[label, seed] for seed in seeds] for label in labels]
    seconds = np.array([[run.seconds for run in row] for row in runs])
    counted = np.array([operations.get(label, np.nan) for label in labels])
    ratios = np.broadcast_to((counted / counted[base])[:, None], seconds.shape)
    measured = [[[run.scores.get(name, np.nan) for name in scores] for run in row] for row in runs]
    costs = np.stack([seconds / seconds[base], ratios], 2)
    values = np.concatenate([np.array(measured), costs], 2)
    best_epoch = [
        [np.nan if run.best_epoch is None else run.best_epoch for run in row] for row in runs
    ]
    variables = {
        "value": (("recipe", "seed", "metric"), values, "1", "what the metric says"),
        "p_value": (
            ("recipe", "metric"),
            _paired(values, base),
            "1",
            "probability of a difference to plain joint training as large by chance",
        ),
        "seconds": (("recipe", "seed"), seconds, "s", "wall time of the training"),
        "best_epoch": (("recipe", "seed"), best_epoch, "1", "best epoch by validation, from 0"),
        "operations": (("recipe",), counted, "1", "floating-point operations of one training"),
    }
    formulas = {"p_value": "scipy.stats.ttest_rel", "operations": "torch.utils.flop_counter"}
    by_label = {
        label: dict(zip(map(str, seeds), of, strict=True))
        for label, of in zip(labels, runs, strict=True)
    }
    notes = {
        label: {seed: list(run.notes) for seed, run in of.items() if run.notes}
        for label, of in by_label.items()
    }
    failures = {
        label: {seed: run.failure for seed, run in of.items() if run.failure}
        for label, of in by_label.items()
    }
    dataset = schema.dataset(
        {
            name: schema.variable(
                dims, values, units=units, long_name=told, formula=formulas.get(name, _HOME)
            )
            for name, (dims, values, units, told) in variables.items()
        },
        {"recipe": labels, "seed": list(seeds), "metric": [*scores, *COSTS]},
        settings={choice.label: choice.described() for choice in choices},
        baseline=labels[base],
        modalities=list(modalities),
        protocol=protocol,
        notes={label: told for label, told in notes.items() if told},
        failures={label: told for label, told in failures.items() if told},
    )
    return Comparison(dataset)


def _told(what: str, reasons: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """Return a sentence per recipe and reason, with the seeds that it holds for."""
    lines = []
    for label, by_seed in reasons.items():
        seeds: dict[str, list[str]] = {}
        for seed, told in by_seed.items():
            for reason in told:
                seeds.setdefault(reason, []).append(seed)
        lines += [
            f"{label}{what} at seed {', '.join(of)}: {reason}" for reason, of in seeds.items()
        ]
    return lines


def _paired(values: np.ndarray, base: int) -> np.ndarray:
    """Return the p-values (recipe, metric); NaN below two pairs and where all differ alike."""
    from scipy.stats import ttest_rel

    found = np.full((values.shape[0], values.shape[2]), np.nan)
    for row, column in np.ndindex(found.shape):
        ours, plain = values[row, :, column], values[base, :, column]
        both = np.isfinite(ours) & np.isfinite(plain)
        if row != base and both.sum() > 1 and np.ptp((ours - plain)[both]) > 0:
            found[row, column] = ttest_rel(ours[both], plain[both]).pvalue
    return found


def _best(metric: str, means: np.ndarray) -> float:
    if metric in COSTS or np.isnan(means).all():
        return np.nan
    if metric == "ece":
        return float(np.nanmin(means))
    if metric.startswith(ratio_name("")):
        return float(means[np.nanargmin(np.abs(np.log(np.maximum(means, 1e-300))))])
    return float(np.nanmax(means))
