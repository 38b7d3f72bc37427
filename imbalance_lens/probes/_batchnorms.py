"""BatchNorm layers as a labelled dataset: which channels their own parameters switch off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .. import checks, formulas, schema
from ..errors import NotApplicableError, SettingError
from ..observation import BatchNormState, Need

if TYPE_CHECKING:
    import xarray as xr

THRESHOLDS = (1e-10, 2e-5, 1e-2)
"""The paper's bounds, for whole models (Fig. 2a) and for its ImageNet example (Fig. 2b); and 1e-2,
a hundredth of a fresh channel's scale, since many checkpoints have nothing as small as those."""


def scan(
    batchnorms: Mapping[str, BatchNormState],
    thresholds: Iterable[float] = THRESHOLDS,
    criterion: str = "pair",
) -> xr.Dataset:
    """Count the abnormal channels of BatchNorm layers.

    Args:
        batchnorms: path -> parameters (channels,) of the layer.
        thresholds: bounds below which a parameter counts as abnormal, in the order of the answer.
        criterion: one of `formulas.CRITERIA`.

    Returns:
        Over (threshold, layer): `abnormal_count` and `abnormal_ratio` by the criterion;
        `pair_count`, `gamma_count` and `relative_count` by each there is; `constant_count` of
        channels that are alive but say the same whatever the input. Over (threshold):
        `total_ratio`. Over (layer), which has `modality` as a coordinate: the number of channels
        and how small their parameters are. Over (channel): the parameters; and over (threshold,
        channel) `abnormal`, by the criterion.

    Raises:
        NotApplicableError: there is no layer.
        SettingError: no threshold, equal ones or one that is not above 0; an unknown criterion.
    """
    bounds = distinct(thresholds)
    checks.one_of("criterion", criterion, formulas.CRITERIA)
    if not batchnorms:
        raise NotApplicableError(Need.BATCHNORMS.value)
    table = _Table(batchnorms)
    weight = table.channels(lambda weight, _: weight.cpu().double())
    bias = table.channels(lambda _, bias: bias.cpu().double())
    dead = table.channels(formulas.dead_probability)
    marks = {
        name: np.stack([table.channels(partial(rule, threshold=bound)) for bound in bounds])
        for name, rule in _RULES.items()
    }
    counts = {f"{name}_count": table.layers(np.sum, mark) for name, mark in marks.items()}
    count = counts[f"{criterion}_count"]
    channels = np.array(table.sizes)
    values = counts | {
        "abnormal_count": count,
        "abnormal_ratio": count / channels,
        "total_ratio": count.sum(1) / channels.sum(),
        "channels": channels,
        "weight_median": table.layers(np.median, np.abs(weight)),
        "weight_min": table.layers(np.min, np.abs(weight)),
        "bias_median": table.layers(np.median, np.abs(bias)),
        "bias_min": table.layers(np.min, np.abs(bias)),
        "mean_dead_probability": table.layers(np.mean, dead),
        "weight": weight,
        "bias": bias,
        "dead_probability": dead,
        "abnormal": marks[criterion],
    }
    variables = {
        name: schema.variable(dims, values[name], units="1", long_name=long_name, formula=formula)
        for name, (dims, long_name, formula) in _VARIABLES.items()
    }
    dtypes = dict.fromkeys(state.weight.dtype for state in batchnorms.values())
    return schema.dataset(
        variables,
        {
            "threshold": list(bounds),
            "layer": list(batchnorms),
            "modality": ("layer", [state.modality for state in batchnorms.values()]),
            "channel": [f"{layer}:{k}" for layer, k in table.rows],
            "channel_layer": ("channel", [layer for layer, _ in table.rows]),
            "channel_index": ("channel", [k for _, k in table.rows]),
        },
        settings={"thresholds": bounds, "criterion": criterion},
        precision=", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes),
        precision_note=_precision_note(dtypes, bounds),
    )


class _Table:
    """The channels of all layers in one row."""

    def __init__(self, batchnorms: Mapping[str, BatchNormState]) -> None:
        self._pairs = [
            (state.weight.detach(), state.bias.detach()) for state in batchnorms.values()
        ]
        self.sizes = [len(weight) for weight, _ in self._pairs]
        sizes = zip(batchnorms, self.sizes, strict=True)
        self.rows = [(layer, index) for layer, size in sizes for index in range(size)]

    def channels(self, rule: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
        """Apply a rule on weight and bias to every layer: (channel,)."""
        return torch.cat([rule(*pair) for pair in self._pairs]).numpy()

    def layers(self, reduce: Callable[..., np.ndarray], values: np.ndarray) -> np.ndarray:
        """Reduce the channels of every layer: (..., channel) to (..., layer)."""
        parts = np.split(values, np.cumsum(self.sizes)[:-1], axis=-1)
        return np.stack([reduce(part, axis=-1) for part in parts], axis=-1)


_RULES: dict[str, Callable[..., Tensor]] = {
    **{name: partial(formulas.abnormal_channels, criterion=name) for name in formulas.CRITERIA},
    "constant": formulas.constant_channels,
}
_OF_LAYERS, _LAYER, _CHANNEL = ("threshold", "layer"), ("layer",), ("channel",)
_FORMULAS = "imbalance_lens.formulas.batchnorm"
_ABNORMAL, _DEAD = f"{_FORMULAS}.abnormal_channels", f"{_FORMULAS}.dead_probability"
_VARIABLES = {
    "abnormal_count": (
        _OF_LAYERS,
        "abnormal channels, by the criterion of the settings",
        _ABNORMAL,
    ),
    "abnormal_ratio": (_OF_LAYERS, "abnormal channels, as a share of the layer's", _ABNORMAL),
    "total_ratio": (("threshold",), "abnormal channels, as a share of all", _ABNORMAL),
    "pair_count": (_OF_LAYERS, "channels with a tiny scale and a tiny shift", _ABNORMAL),
    "gamma_count": (_OF_LAYERS, "channels with a tiny scale", _ABNORMAL),
    "relative_count": (_OF_LAYERS, "channels with a scale tiny beside its layer's", _ABNORMAL),
    "constant_count": (
        _OF_LAYERS,
        "channels with a tiny scale and a positive shift: constant, not dead",
        f"{_FORMULAS}.constant_channels",
    ),
    "channels": (_LAYER, "channels of the layer", "numpy.size"),
    "weight_median": (_LAYER, "median size of the layer's scales", "numpy.median"),
    "weight_min": (_LAYER, "smallest size of the layer's scales", "numpy.min"),
    "bias_median": (_LAYER, "median size of the layer's shifts", "numpy.median"),
    "bias_min": (_LAYER, "smallest size of the layer's shifts", "numpy.min"),
    "mean_dead_probability": (_LAYER, "mean of the layer's dead probabilities", _DEAD),
    "weight": (_CHANNEL, "scale of the channel", "torch.nn.BatchNorm2d"),
    "bias": (_CHANNEL, "shift of the channel", "torch.nn.BatchNorm2d"),
    "dead_probability": (_CHANNEL, "probability that an entry is 0 behind a ReLU", _DEAD),
    "abnormal": (
        ("threshold", "channel"),
        "whether the channel is abnormal, by the criterion of the settings",
        _ABNORMAL,
    ),
}


def distinct(thresholds: Iterable[float]) -> tuple[float, ...]:
    """Return the thresholds; complain unless they are different numbers above 0."""
    try:
        bounds = () if isinstance(thresholds, str) else tuple(map(float, thresholds))
    except (TypeError, ValueError):
        bounds = ()
    if not bounds or len(set(bounds)) < len(bounds):
        raise SettingError(
            f"thresholds must be one or more different numbers, such as {THRESHOLDS}; "
            f"got {thresholds!r}."
        )
    for bound in bounds:
        checks.positive("A threshold", bound)
    return bounds


def _precision_note(dtypes: Iterable[torch.dtype], bounds: Sequence[float]) -> str:
    """Say which thresholds are finer than the numbers that were stored."""
    notes = []
    for dtype in dtypes:
        smallest = torch.finfo(dtype).tiny * torch.finfo(dtype).eps
        blurred = [bound for bound in bounds if bound <= smallest]
        if blurred:
            notes.append(
                f"{dtype} has no numbers between 0 and {smallest:.0e}: at the thresholds "
                f"{blurred} a channel counts that may have been above them before it was stored"
            )
    return "; ".join(notes)
