"""Datasets in the form that the probes answer, with numbers that a test chooses."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from imbalance_lens import schema
from imbalance_lens.report import Report

FORMULA = "tests.report.planted"


def _variable(dims, values, units="1"):
    return schema.variable(dims, values, units=units, long_name="planted", formula=FORMULA)


def zero_out(
    alone: Mapping[str, float],
    drop: Mapping[str, float] | None = None,
    *,
    full: float = 0.9,
    width: float = 0.02,
    confidence: Mapping[str, float] | None = None,
    spread: Mapping[str, float] | None = None,
    effect: Mapping[str, float] | None = None,
    nonfinite: Mapping[str, int] | None = None,
    majority: float = 0.1,
    examples: int = 500,
    fill: str = "zero",
) -> xr.Dataset:
    """Return an answer of the probe zero_out; every interval reaches `width` to both sides.

    Without `drop`, two modalities lose what the other one does not have alone, as they must.
    """
    names = list(alone)
    if drop is None:
        drop = {name: full - min(alone[o] for o in names if o != name) for name in names}
    confidence = confidence or alone
    pairs = {frozenset(names) - {name}: full - drop[name] for name in names}
    sets = {frozenset(): majority, **pairs, **{frozenset({n}): alone[n] for n in names}}
    sets[frozenset(names)] = full
    coalitions = {schema.coalition_name(present, names): v for present, v in sets.items()}
    sure = {c: confidence.get(c, value) for c, value in coalitions.items()}
    variables = {
        "nonfinite": _variable(
            ("coalition",), [(nonfinite or {}).get(c, 0) for c in coalitions], "example"
        ),
        "average_precision": _variable(("coalition",), list(coalitions.values())),
        "spread": _variable(("modality",), [(spread or {}).get(n, 0.5) for n in names]),
        "effect": _variable(("modality",), [(effect or {}).get(n, 0.5) for n in names]),
        "majority": _variable((), majority),
    }
    lost = {name: 0.9 * drop[name] for name in names}
    for name, dims, values in (
        ("accuracy", ("coalition",), list(coalitions.values())),
        ("confidence", ("coalition",), list(sure.values())),
        ("alone", ("modality",), list(alone.values())),
        ("drop", ("modality",), [drop[n] for n in names]),
        ("confidence_drop", ("modality",), list(lost.values())),
        ("alone_gap", ("modality", "other"), _gaps(alone, names)),
        ("drop_gap", ("modality", "other"), _gaps(drop, names)),
        ("confidence_gap", ("modality", "other"), _gaps(confidence, names)),
    ):
        values = np.asarray(values, dtype=float)
        ends = np.stack([values - width, values + width], -1)
        variables[name] = _variable(dims, values)
        variables[f"{name}_interval"] = _variable((*dims, "bound"), ends)
    return schema.dataset(
        variables,
        {
            "coalition": list(coalitions),
            "modality": names,
            "other": names,
            "bound": ["low", "high"],
        },
        settings={"fill": fill, "confidence_level": 0.95, "resamples": 1000, "seed": 0},
        examples=examples,
    )


def logit_norm(
    norms: Mapping[str, float | Sequence[float]],
    *,
    centered: Mapping[str, float] | None = None,
    joint: float = 9.0,
) -> xr.Dataset:
    """Return an answer of the probe logit_norm; a sequence gives one norm per epoch."""
    names = list(norms)
    own = np.stack([np.atleast_1d(np.asarray(norms[n], dtype=float)) for n in names], -1)
    heads = np.concatenate([own, np.full((len(own), 1), joint)], -1)
    without_mean = heads.copy()
    for name, value in (centered or {}).items():
        without_mean[:, names.index(name)] = value
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = own[:, :, None] / own[:, None, :]
    return schema.dataset(
        {
            "mean_norm": _variable(("epoch", "head"), heads, "logit"),
            "mean_centered_norm": _variable(("epoch", "head"), without_mean, "logit"),
            "norm_ratio": _variable(("epoch", "modality", "other"), ratios),
        },
        {
            "epoch": np.arange(len(own)),
            "head": [*names, schema.JOINT],
            "modality": names,
            "other": names,
        },
        settings={},
    )


def abnormal_batchnorm(
    layers: Mapping[str, tuple[str, int, int]], *, criterion: str = "pair"
) -> xr.Dataset:
    """Return an answer of the probe abnormal_batchnorm: path -> (owner, abnormal, channels)."""
    owners, abnormal, channels = map(list, zip(*layers.values(), strict=True))
    counts = np.stack([abnormal, channels])[None]
    return schema.dataset(
        {
            "abnormal_count": _variable(("epoch", "threshold", "layer"), counts),
            "channels": _variable(("layer",), channels),
        },
        {
            "epoch": [0],
            "threshold": [1e-10, 1e-2],
            "layer": list(layers),
            "modality": ("layer", owners),
        },
        settings={"thresholds": [1e-10, 1e-2], "criterion": criterion},
    )


def report(names: Sequence[str] = ("audio", "visual"), **given) -> Report:
    """Return a report of the datasets among the keywords; the others are attributes."""
    datasets = {
        name: given.pop(name) for name in list(given) if isinstance(given[name], xr.Dataset)
    }
    anatomy = {"encoders": {name: f"{name}_net" for name in names}, "head": "head"}
    settled = {"model": "Net", "examples": 500, "torch_version": "2.11.0", "anatomy": anatomy}
    return Report.build(datasets, **{**settled, **given})


def _gaps(values: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    column = np.array([values[name] for name in names], dtype=float)
    return column[:, None] - column[None, :]
