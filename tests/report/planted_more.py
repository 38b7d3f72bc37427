"""Answers of further probes, with numbers that a test chooses."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from imbalance_lens import schema

from .planted import FORMULA

Numbers = Mapping[str, float]


def permutation(
    drop: Numbers, *, width: float = 0.02, examples: int = 500, labeled: bool = True
) -> xr.Dataset:
    """Return an answer of the probe permutation."""
    values = np.array(list(drop.values())) * (1 if labeled else np.nan)
    variables = {
        **_estimate("drop", ("modality",), values, width),
        **_estimate("drop_gap", ("modality", "other"), _gaps(values), width),
        **_estimate("flip_rate", ("modality",), list(drop.values()), width),
    }
    return _dataset(variables, drop, examples=examples, labeled=labeled)


def shapley(
    shares: Mapping[str, Numbers], *, width: float = 0.02, examples: int = 500
) -> xr.Dataset:
    """Return an answer of the probe shapley: value -> modality -> contribution."""
    names = list(next(iter(shares.values())))
    values = np.array([[own[name] for own in shares.values()] for name in names])
    gaps = values[:, None] - values[None, :]
    variables = {
        **_estimate("contribution", ("modality", "value"), values, width),
        **_estimate("contribution_gap", ("modality", "other", "value"), gaps, width),
    }
    return _dataset(variables, names, value=list(shares), examples=examples)


def linear_probe(
    accuracy: Numbers,
    own: Numbers,
    *,
    width: float = 0.02,
    nonfinite: Mapping[str, int] | None = None,
    majority: float = 0.1,
    examples: int = 500,
) -> xr.Dataset:
    """Return an answer of the probe linear_probe."""
    heads = [*accuracy, schema.JOINT]
    read, said = ([*values.values(), 0.95] for values in (accuracy, own))
    variables = {
        **_estimate("accuracy", ("head",), read, width),
        **_estimate("own_accuracy", ("head",), said, width),
        **_estimate("gap", ("head",), np.subtract(read, said), width),
        "nonfinite": _variable(
            ("head",), [(nonfinite or {}).get(name, 0) for name in heads], "example"
        ),
        "majority": _variable((), majority),
    }
    more = {"examples": examples, "protocol": "train", "fit_examples": 2400}
    return _dataset(variables, (), head=heads, **more)


def dead_features(
    layers: Mapping[str, tuple[str, int, int]],
    *,
    examples: int = 500,
    nan: str = "",
    flat: Sequence[int] = (),
) -> xr.Dataset:
    """Return an answer of the probe dead_features: BatchNorm path -> (owner, dead, channels).

    The first channels of a layer are the dead ones; the last one of the layer `nan` has a NaN;
    those at `flat` hardly vary.
    """
    rows = [(path, k) for path, (_, _, size) in layers.items() for k in range(size)]
    dead = np.array([k < layers[path][1] for path, k in rows])
    broken = [int(path == nan and k == layers[path][2] - 1) for path, k in rows]
    owners, counts, sizes = map(list, zip(*layers.values(), strict=True))
    variables = {
        "dead_count": _variable(("layer",), counts),
        "examples": _variable(("layer",), [examples] * len(layers), "example"),
        "dead": _variable(("channel",), dead),
        "dead_rate": _variable(("channel",), dead.astype(float)),
        "low_variance": _variable(("channel",), [k in flat for _, k in rows]),
        "nan_examples": _variable(("channel",), broken, "example"),
    }
    return schema.dataset(
        variables,
        {
            "layer": [f"{path} > relu" for path in layers],
            "producer": ("layer", list(layers)),
            "kind": ("layer", ["batchnorm"] * len(layers)),
            "modality": ("layer", owners),
            "channels": ("layer", sizes),
            "channel": [f"{path} > relu:{k}" for path, k in rows],
            "channel_layer": ("channel", [f"{path} > relu" for path, _ in rows]),
            "channel_index": ("channel", [k for _, k in rows]),
        },
        settings={"threshold": 0.99},
    )


def batchnorm_channels(layers: Mapping[str, tuple[str, Sequence[int], int]]) -> xr.Dataset:
    """Return an answer of abnormal_batchnorm, by channel: path -> (owner, abnormal ones, size)."""
    rows = [(path, k) for path, (_, _, size) in layers.items() for k in range(size)]
    abnormal = np.array([k in layers[path][1] for path, k in rows])
    counts = [len(ones) for _, ones, _ in layers.values()]
    return schema.dataset(
        {
            "abnormal_count": _variable(("epoch", "threshold", "layer"), [[counts]]),
            "channels": _variable(("layer",), [size for _, _, size in layers.values()]),
            "abnormal": _variable(("threshold", "channel"), abnormal[None]),
            "dead_probability": _variable(("channel",), abnormal.astype(float)),
        },
        {
            "epoch": [0],
            "threshold": [1e-10],
            "layer": list(layers),
            "modality": ("layer", [owner for owner, _, _ in layers.values()]),
            "channel": [f"{path}:{k}" for path, k in rows],
            "channel_layer": ("channel", [path for path, _ in rows]),
            "channel_index": ("channel", [k for _, k in rows]),
        },
        settings={"criterion": "pair"},
    )


def emap(
    gap: Numbers, *, flips: Numbers | None = None, width: float = 0.005, examples: int = 500
) -> xr.Dataset:
    """Return an answer of the probe emap."""
    changed = flips or {name: abs(value) for name, value in gap.items()}
    variables = {
        **_estimate("gap", ("modality",), list(gap.values()), width),
        **_estimate("flip_rate", ("modality",), list(changed.values()), width),
    }
    return _dataset(variables, gap, examples=examples)


def calibration(heads: Mapping[str, tuple[float, float, int]]) -> xr.Dataset:
    """Return an answer of the probe calibration: head -> (confidence, accuracy, examples).

    All examples of a head lie in one bin.
    """
    sure, right, count = (np.array(each) for each in zip(*heads.values(), strict=True))
    variables = {
        "error": _variable(("head",), abs(sure - right)),
        "confidence_gap": _variable(("head",), sure - right),
        "count": _variable(("head", "bin"), np.stack([count, 0 * count], 1), "example"),
        "confidence": _variable(("head", "bin"), np.stack([sure, sure * np.nan], 1)),
    }
    return _dataset(variables, (), head=list(heads), bin=[0.5, 1.0])


def gradient_conflict(cosines: Mapping[str, Sequence[float]]) -> xr.Dataset:
    """Return an answer of the probe gradient_conflict: the cosine of each batch."""
    rows = np.array(list(cosines.values())).T
    steps = len(rows)
    error = rows.std(0, ddof=1) / steps**0.5 if steps > 1 else rows[0] * np.nan
    variables = {
        "cosine": _variable(("step", "modality"), rows),
        "mean_cosine": _variable(("modality",), rows.mean(0)),
        "mean_cosine_error": _variable(("modality",), error),
    }
    return _dataset(variables, cosines, step=np.arange(steps))


def ogr(terms: Mapping[str, tuple[float, float]], *, states: int = 2) -> xr.Dataset:
    """Return an answer of the probe ogr: head -> (overfitting, gain)."""
    overfit, general = (np.array(each, dtype=float) for each in zip(*terms.values(), strict=True))
    ratio = np.full_like(overfit, np.nan)
    np.divide(abs(overfit), abs(general), out=ratio, where=general != 0)
    rows = np.tile(overfit, (states, 1))
    variables = {
        "delta_overfit": _variable(("epoch", "head"), rows, "nat"),
        "total_delta_overfit": _variable(("head",), overfit, "nat"),
        "total_delta_general": _variable(("head",), general, "nat"),
        "total_ogr": _variable(("head",), ratio),
    }
    return _dataset(variables, (), head=list(terms), epoch=np.arange(states))


def discrepancy(scores: Mapping[str, Sequence[float]]) -> xr.Dataset:
    """Return an answer of the probe discrepancy: the mean score of each step."""
    rows = np.array(list(scores.values()), dtype=float).T
    variables = {"score": _variable(("step", "modality"), rows)}
    return _dataset(variables, scores, step=np.arange(len(rows)))


def _dataset(variables, names, **more) -> xr.Dataset:
    """Return a dataset whose dimensions that are not coordinates yet are modalities."""
    dims = {dim for variable in variables.values() for dim in variable.dims}
    coords = {dim: more.pop(dim) for dim in list(more) if dim in dims}
    coords |= {dim: list(names) for dim in ("modality", "other") if dim in dims}
    coords |= {"bound": ["low", "high"]} if "bound" in dims else {}
    settings = {"confidence_level": 0.95} if "bound" in dims else {}
    return schema.dataset(variables, coords, settings=settings, **more)


def _estimate(name, dims, values, width) -> dict[str, xr.Variable]:
    values = np.asarray(values, dtype=float)
    ends = np.stack([values - width, values + width], -1)
    return {name: _variable(dims, values), f"{name}_interval": _variable((*dims, "bound"), ends)}


def _variable(dims, values, units="1") -> xr.Variable:
    return schema.variable(dims, values, units=units, long_name="planted", formula=FORMULA)


def _gaps(values: np.ndarray) -> np.ndarray:
    return values[:, None] - values[None, :]
