"""What one layer makes of a few examples, map by map, for figures of dead channels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from . import checks, schema
from .anatomy.leaves import leaves
from .batches import Call, bind, device_of
from .errors import BatchError, NotApplicableError
from .hooks.activations import activations, by_example
from .hooks.frozen import frozen
from .hooks.wrappers import unwrap
from .observation import BN_STATS, Activation
from .registry import unknown

if TYPE_CHECKING:
    import xarray as xr


def feature_maps(
    model: nn.Module, inputs: Any, place: str, *, bn_stats: str = "running"
) -> xr.Dataset:
    """Record the feature maps that an activation function gives for a few examples.

    A map that is 0 everywhere is a dead feature (Feng et al., 2023, section 3.1, footnote 1, and
    Fig. 2b, 9 and 10); a channel whose maps are so for most examples is what the probe
    `dead_features` counts. The model is in eval mode meanwhile, and nothing about it changes.

    Cost: one pass; the maps of the one place are kept.

    Args:
        model: as `diagnose` takes it.
        inputs: of one batch of examples, without labels, as `find_anatomy` takes them.
        place: which activation, by its name on the dimension `layer` of `dead_features`, as
            "audio.bn1 > relu", or without the function. The error for an unknown name lists
            those there are.
        bn_stats: as for `DeadFeatures`.

    Returns:
        Over (example, channel, row, column) `activation`, a signal's maps with one row, and of
        videos the frames one below the other. Over (example, channel) `dead`, whether the map is
        0 everywhere. Over (channel) `dead_rate`, the share of these examples.

    Raises:
        UnknownNameError: no activation function was called at such a place.
        NotApplicableError: what it gives are single numbers, not maps.
        SettingError: unknown `bn_stats`.
        BatchError: the inputs do not fit the model, or are of no example.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
        >>> _ = torch.nn.init.constant_(net[0].bias, -100.0)
        >>> found = feature_maps(net, torch.ones(4, 1, 5, 5), "0")
        >>> dict(found["activation"].sizes)
        {'example': 4, 'channel': 2, 'row': 3, 'column': 3}
        >>> found["dead_rate"].values
        array([1., 1.])
    """
    checks.one_of("bn_stats", bn_stats, BN_STATS)
    inner = unwrap(model)
    with frozen(inner):
        call = bind(inner, inputs).to(device_of(inner))
        examples = _examples(call)
        if not examples:
            raise BatchError("The inputs hold no example. Give those of one or more.")
        by_batch = bn_stats == "batch"
        with activations(inner, examples, batch_statistics=by_batch, whole=place) as heard:
            call(inner)
    name = next((name for name, each in heard.items() if each.maps is not None), None)
    if name is None:
        raise unknown("activation", place, heard)
    found = by_example(heard[name], examples)
    return _dataset(name, found, _as_images(name, found), bn_stats)


def as_rows(values: Tensor) -> Tensor:
    """Return (..., rows, columns) for (a, b, positions) or (a, b, *more, rows, columns)."""
    return values.unsqueeze(2) if values.ndim == 3 else values.flatten(2, -2)


def _examples(call: Call) -> int:
    sizes = [tensor.shape[0] for held in leaves(call).values() for tensor in held if tensor.ndim]
    return Counter(sizes).most_common(1)[0][0] if sizes else 1


def _as_images(place: str, found: Activation) -> np.ndarray:
    maps = found.maps
    if maps is None or maps.ndim < 3:
        raise NotApplicableError(
            f"{place!r} gives one number per channel and example, so there are no maps to look at. "
            "Choose a place behind a convolution; the probe dead_features counts the others."
        )
    return as_rows(maps).cpu().to(torch.promote_types(maps.dtype, torch.float32)).numpy()


def _dataset(place: str, found: Activation, images: np.ndarray, bn_stats: str) -> xr.Dataset:
    dead = np.logical_not(images).all((2, 3))
    dims = ("example", "channel", "row", "column")
    rate = "imbalance_lens.formulas.activations.dead_rate"
    told: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
        "activation": (
            dims,
            images,
            f"what the {found.function} gives",
            f"torch.nn.functional.{found.function}",
        ),
        "dead": (dims[:2], dead, "whether the map is 0 everywhere", "numpy.equal"),
        "dead_rate": (
            dims[1:2],
            dead.mean(0),
            "share of these examples in which the channel is dead",
            rate,
        ),
    }
    sizes = zip(dims, images.shape, strict=True)
    coords: dict[str, Any] = {name: np.arange(size) for name, size in sizes}
    coords["channel"] = [f"{place}:{k}" for k in range(images.shape[1])]
    return schema.dataset(
        {
            name: schema.variable(own, values, units="1", long_name=text, formula=formula)
            for name, (own, values, text, formula) in told.items()
        },
        coords,
        settings={"place": place, "bn_stats": bn_stats},
        place=place,
        producer=found.producer,
        function=found.function,
    )
