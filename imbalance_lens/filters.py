"""The filters of a convolution beside the BatchNorm parameters of their channels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from . import schema
from .checkpoints import load_weights
from .errors import NotApplicableError, SettingError
from .hooks.wrappers import unwrap
from .maps import as_rows
from .observation import BatchNormState
from .probes._batchnorms import THRESHOLDS, scan
from .registry import unknown

if TYPE_CHECKING:
    import xarray as xr

Weights = str | os.PathLike[str] | Mapping[str, Tensor] | nn.Module
"""A checkpoint file, a state_dict or a model."""

_WEIGHT, _BIAS = ".weight", ".bias"
_Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def scan_filters(
    weights: Weights,
    layer: str | None = None,
    batchnorm: str | None = None,
    *,
    thresholds: Iterable[float] = THRESHOLDS,
    criterion: str = "pair",
    trust: bool = False,
) -> xr.Dataset:
    """Return a convolution's filters, and which of their channels BatchNorm switches off.

    In a pre-trained encoder the filters of abnormal channels often have no structure, since
    hardly any gradient has reached them (Feng et al., 2023, section 3.1 and Fig. 2d). Neither
    the model's code nor data is needed.

    Args:
        weights: a checkpoint file, of any kind that `load_weights` reads, a state_dict or a model.
            Only a model shows that a convolution is a transposed one, whose filters lie otherwise.
        layer: path of the convolution. Default: the first that a BatchNorm layer follows.
        batchnorm: path of its BatchNorm layer. Default: the one whose weights come next.
        thresholds: as for `AbnormalBatchnorm`.
        criterion: as for `AbnormalBatchnorm`.
        trust: as for `load_weights`.

    Returns:
        Over (channel, plane, row, column) `filter`; those over time have one row, and of those
        over space and time, the frames are one below the other. Over (threshold, channel)
        `abnormal`; over (channel) `weight` and `bias` of the BatchNorm layer.

    Raises:
        CheckpointError: the file cannot be read safely.
        NotApplicableError: no BatchNorm layer follows a convolution.
        UnknownNameError: there is no such convolution, or no BatchNorm layer of its width.
        SettingError: weights of another kind; otherwise as for `AbnormalBatchnorm`.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4), nn.ReLU())
        >>> _ = nn.init.zeros_(net[1].weight)
        >>> found = scan_filters(net, thresholds=(1e-10,))
        >>> dict(found["filter"].sizes), found["abnormal"].values.sum()
        ({'channel': 4, 'plane': 3, 'row': 5, 'column': 5}, np.int64(4))
    """
    named = _named(weights, trust=trust)
    layers = {name.removesuffix(_WEIGHT): name for name in named if name.endswith(_WEIGHT)}
    norms = [path for path in layers if f"{path}.running_mean" in named]
    following = {
        path: after
        for path, after in zip(layers, [*layers][1:], strict=False)
        if named[layers[path]].ndim > 2 and after in norms and _fit(named, path, after)
    }
    if layer is None:
        if not following:
            raise NotApplicableError(
                f"None of the {len(layers)} layers with weights is a convolution with a BatchNorm "
                "layer right behind it. Name both: scan_filters(..., layer=, batchnorm=)."
            )
        layer = next(iter(following))
    if layer not in layers or named[layers[layer]].ndim < 3:
        known = [path for path, name in layers.items() if named[name].ndim > 2]
        raise unknown("convolution", layer, known)
    if batchnorm is None:
        batchnorm = following.get(layer, "")
    if batchnorm not in norms or not _fit(named, layer, batchnorm):
        raise unknown(
            f"BatchNorm layer as wide as {layer!r}",
            batchnorm,
            [path for path in norms if _fit(named, layer, path)],
        )
    return _dataset(named, layer, batchnorm, thresholds, criterion)


def _named(weights: Weights, *, trust: bool) -> Mapping[str, Tensor]:
    if isinstance(weights, str | os.PathLike):
        return load_weights(Path(weights), trust=trust)
    if not isinstance(weights, nn.Module):
        if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
            raise SettingError(
                "weights must be a checkpoint file, a state_dict (name -> tensor) or a model; got "
                f"{type(weights).__name__}."
            )
        return weights
    inner = unwrap(weights)
    named = dict(inner.state_dict())
    for path, module in inner.named_modules():
        name = f"{path}{_WEIGHT}"
        if isinstance(module, _Transposed) and name in named:
            named[name] = _outputs_first(named[name], module.groups)
    return named


def _outputs_first(weight: Tensor, groups: int) -> Tensor:
    # (inputs, outputs per group, ...) as (outputs, inputs per group, ...)
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def _fit(named: Mapping[str, Tensor], layer: str, norm: str) -> bool:
    parts = [named.get(norm + part) for part in (_WEIGHT, _BIAS)]
    width = named[layer + _WEIGHT].shape[0]
    return all(part is not None and part.shape == (width,) for part in parts)


def _dataset(
    named: Mapping[str, Tensor],
    layer: str,
    batchnorm: str,
    thresholds: Iterable[float],
    criterion: str,
) -> xr.Dataset:
    none = named[layer + _WEIGHT].new_empty(0)
    own = BatchNormState(named[batchnorm + _WEIGHT], named[batchnorm + _BIAS], none, none)
    judged = scan({batchnorm: own}, thresholds, criterion)
    values = as_rows(named[layer + _WEIGHT].detach().cpu().double()).numpy()
    dims = ("channel", "plane", "row", "column")
    filters = schema.variable(
        dims, values, units="1", long_name="weights of the filter", formula="torch.nn.Conv2d"
    )
    names = [f"{layer}:{k}" for k in range(len(values))]
    sizes = zip(dims[1:], values.shape[1:], strict=True)
    return schema.dataset(
        {
            "filter": filters,
            **{name: judged[name].variable for name in ("abnormal", "weight", "bias")},
        },
        {
            "threshold": judged["threshold"].values,
            "channel": names,
            **{name: np.arange(size) for name, size in sizes},
        },
        settings=schema.from_json(judged.attrs["settings"]),
        layer=layer,
        batchnorm=batchnorm,
        precision=judged.attrs["precision"],
        precision_note=judged.attrs["precision_note"],
    )
