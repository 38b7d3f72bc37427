"""Dead channels as a labelled dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .. import formulas, schema
from ..observation import Activation
from ._extremes import Extremes

if TYPE_CHECKING:
    import xarray as xr


def table(
    seen: Mapping[str, Extremes],
    places: Mapping[str, Activation],
    *,
    threshold: float,
    settings: Mapping[str, Any],
    **notes: Any,
) -> xr.Dataset:
    """Return what was counted, by layer, by channel and by class.

    Args:
        seen: place -> counts of its channels, on the host, one place or more.
        places: place -> what it is.
        threshold: share of the examples from which on a channel is dead.
        settings: of the probe.
        notes: further attributes.
    """
    counts = list(seen.values())
    sizes = [len(each.dead) for each in counts]
    rate = [each.dead.double() / each.examples for each in counts]
    dead = [share >= threshold for share in rate]
    constant = [each.highest == each.lowest for each in counts]
    flat = list(map(_low_variance, counts))
    alive = [~marks for marks in dead]
    columns = {
        "dead_rate": rate,
        "dead": dead,
        "constant": constant,
        "low_variance": flat,
        "highest": [each.highest.double() for each in counts],
        "nan_examples": [each.nan for each in counts],
    }
    values = {name: torch.cat(parts).numpy() for name, parts in columns.items()}
    values["dead_count"] = _sums(dead)
    values["dead_share"] = values["dead_count"] / np.array(sizes)
    values["total_share"] = values["dead"].mean()
    values["constant_count"] = _sums([a & b for a, b in zip(constant, alive, strict=True)])
    values["low_variance_count"] = _sums([a & b for a, b in zip(flat, alive, strict=True)])
    values["examples"] = np.array([each.examples for each in counts])
    coords = _coords(seen, places, sizes)
    if any(each.class_examples.any() for each in counts):
        shares = [each.class_dead.T.double() / each.class_examples for each in counts]
        values["class_dead_rate"] = torch.cat(shares).numpy()
        values["class_examples"] = torch.stack([each.class_examples for each in counts]).numpy()
        coords["label"] = np.arange(values["class_examples"].shape[1])
    variables = {
        name: schema.variable(dims, values[name], units=units, long_name=text, formula=formula)
        for name, (dims, units, text, formula) in _VARIABLES.items()
        if name in values
    }
    return schema.dataset(variables, coords, settings=settings, **notes)


def _coords(
    seen: Mapping[str, Extremes], places: Mapping[str, Activation], sizes: list[int]
) -> dict[str, Any]:
    known = [places[place] for place in seen]
    rows = [(place, k) for place, size in zip(seen, sizes, strict=True) for k in range(size)]
    return {
        "layer": list(seen),
        "producer": ("layer", [each.producer for each in known]),
        "kind": ("layer", [each.kind for each in known]),
        "function": ("layer", [each.function for each in known]),
        "modality": ("layer", [each.modality for each in known]),
        "channels": ("layer", sizes),
        "channel": [f"{place}:{k}" for place, k in rows],
        "channel_layer": ("channel", [place for place, _ in rows]),
        "channel_index": ("channel", [k for _, k in rows]),
    }


def _sums(marks: list[Tensor]) -> np.ndarray:
    return np.array([int(each.sum()) for each in marks])


def _low_variance(seen: Extremes) -> Tensor:
    """Judge by half of the range, which the standard deviation never exceeds (Popoviciu, 1935)."""
    high, low = seen.highest.double(), seen.lowest.double()
    middle, half = (high + low) / 2, (high - low) / 2
    finite = half.isfinite()
    return formulas.constant_activations(
        middle.masked_fill(~finite, torch.nan), half.masked_fill(~finite, torch.nan)
    )


_LAYER, _CHANNEL = ("layer",), ("channel",)
_RATE = "imbalance_lens.formulas.activations.dead_rate"
_FLAT = "imbalance_lens.formulas.activations.constant_activations"
_VARIABLES: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "dead_count": (_LAYER, "1", "channels that are dead", "numpy.sum"),
    "dead_share": (_LAYER, "1", "dead channels, as a share of the layer's", "numpy.mean"),
    "total_share": ((), "1", "dead channels, as a share of all", "numpy.mean"),
    "constant_count": (
        _LAYER,
        "1",
        "channels that are not dead, but the same number everywhere",
        "numpy.sum",
    ),
    "low_variance_count": (_LAYER, "1", "channels that are not dead, but hardly vary", _FLAT),
    "examples": (_LAYER, "example", "examples in which the layer was seen", "numpy.size"),
    "dead_rate": (_CHANNEL, "1", "share of the examples in which the channel is dead", _RATE),
    "dead": (_CHANNEL, "1", "whether that share reaches the threshold", "numpy.greater_equal"),
    "constant": (
        _CHANNEL,
        "1",
        "whether the channel is one number at all positions of all examples",
        "numpy.equal",
    ),
    "low_variance": (_CHANNEL, "1", "whether the channel hardly varies beside its layer", _FLAT),
    "highest": (_CHANNEL, "1", "largest entry of the channel", "torch.amax"),
    "nan_examples": (_CHANNEL, "example", "examples in which the channel has a NaN", "torch.isnan"),
    "class_dead_rate": (
        ("channel", "label"),
        "1",
        "share of the examples of the class in which the channel is dead",
        _RATE,
    ),
    "class_examples": (
        ("layer", "label"),
        "example",
        "examples of the class in which the layer was seen",
        "numpy.bincount",
    ),
}
