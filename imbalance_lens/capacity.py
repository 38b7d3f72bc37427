"""Two answers side by side: which channels parameters call dead, and which are so on data.

Works on datasets alone, without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import schema
from .errors import NotApplicableError, SettingError

if TYPE_CHECKING:
    import xarray as xr


def join(dead: xr.Dataset, abnormal: xr.Dataset, *, probability: float = 0.99) -> xr.Dataset:
    """Compare the channels that look dead by their parameters with those that are so on data.

    Where an activation function directly follows a BatchNorm layer, each channel is judged three
    times: dead on data; abnormal, with parameters that are next to nothing; predicted to be
    dead, by its parameters too. Of the last two, the precision is the share of such channels that
    are dead, and the recall the share of the dead channels that are such.

    Args:
        dead: what the probe `dead_features` answers; of several epochs, the last is taken.
        abnormal: what `abnormal_batchnorm` answers for the same model, or `scan_checkpoint` for
            weights under the same paths.
        probability: the `dead_probability` from which on a channel is predicted to be dead.

    Returns:
        Over (layer), the places in `dead` right behind a BatchNorm layer: counts, precision and
        recall of the predicted channels. Over (threshold, layer): of the abnormal ones. Under
        names that begin with `total_`: of all layers together. Over (channel): the judgments.
        NaN where there is nothing to take a share of.

    Raises:
        NotApplicableError: no activation function directly follows a layer in `abnormal`.
        SettingError: a probability outside (0, 1].

    Example:
        >>> import torch
        >>> from imbalance_lens import diagnose
        >>> class Net(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
        ...         torch.nn.init.zeros_(self.a.weight)
        ...         torch.nn.init.constant_(self.a.bias, -1e-4)
        ...     def forward(self, a, b):
        ...         return self.a(a).relu() + self.b(b).relu()
        >>> batch = torch.ones(8, 2), torch.ones(8, 2), torch.tensor([0, 1] * 4)
        >>> probes = ["dead_features", "abnormal_batchnorm"]
        >>> tree = diagnose(Net(), [batch], {"a": "a", "b": "b"}, probes, progress=False).tree
        >>> found = join(*(tree[probe].to_dataset() for probe in probes))
        >>> found["total_dead_count"].item(), found["total_predicted_recall"].item()
        (2, 1.0)
    """
    if not 0 < probability <= 1:
        raise SettingError(f"probability must be above 0 and at most 1; got {probability!r}.")
    if "epoch" in dead["dead"].dims:
        dead = dead.isel(epoch=-1)
    here, there = _matched(dead, abnormal)
    judged, foretold = dead.isel(channel=here), abnormal.isel(channel=there)
    places = list(dict.fromkeys(judged["channel_layer"].values.tolist()))
    is_dead = judged["dead"].values.astype(bool)
    is_abnormal = foretold["abnormal"].transpose("threshold", "channel").values.astype(bool)
    predicted = foretold["dead_probability"].values >= probability
    count = _Counter(judged["channel_layer"].values == np.array(places)[:, None])
    variables = {
        "dead": _again(judged["dead"]),
        "dead_rate": _again(judged["dead_rate"]),
        "dead_probability": _again(foretold["dead_probability"]),
        "abnormal": _again(foretold["abnormal"]),
        **count("dead", (), is_dead),
        **count("predicted", (), predicted, is_dead),
        **count("abnormal", ("threshold",), is_abnormal, is_dead),
    }
    at = dead.sel(layer=places)
    coords = {
        "threshold": abnormal["threshold"].values,
        "layer": places,
        **{name: ("layer", at[name].values) for name in ("producer", "modality")},
        "channel": judged["channel"].values,
        **{name: ("channel", judged[name].values) for name in ("channel_layer", "channel_index")},
    }
    return schema.dataset(variables, coords, settings={"probability": probability})


def _matched(dead: xr.Dataset, abnormal: xr.Dataset) -> tuple[list[int], list[int]]:
    """Return the positions of the channels that are in both, in either."""
    made = zip(dead["layer"].values, dead["producer"].values, dead["kind"].values, strict=True)
    producer = {layer: path for layer, path, kind in made if kind == "batchnorm"}
    known = {name: position for position, name in enumerate(_keys(abnormal))}
    keys = [(producer.get(layer, ""), index) for layer, index in _keys(dead)]
    here = [position for position, key in enumerate(keys) if key in known]
    if not here:
        raise NotApplicableError(
            "No activation function directly follows a BatchNorm layer that both datasets know. "
            f"Layers in front of one: {_listed(dead['producer'])}; BatchNorm layers: "
            f"{_listed(abnormal['layer'])}."
        )
    return here, [known[keys[position]] for position in here]


def _keys(ds: xr.Dataset) -> list[tuple[str, int]]:
    layers, indices = ds["channel_layer"].values, ds["channel_index"].values
    return list(zip(layers.tolist(), indices.tolist(), strict=True))


def _listed(names: xr.DataArray) -> str:
    first = list(dict.fromkeys(names.values.tolist()))
    return ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")


def _again(values: xr.DataArray) -> xr.Variable:
    told = {name: values.attrs[name] for name in ("units", "long_name", "formula")}
    return schema.variable([str(dim) for dim in values.dims], values.values, **told)


class _Counter:
    """Counts marked channels, by layer and in total, and how well marks agree with dead ones.

    Args:
        inside: (layer, channel), which channels are in which layer.
    """

    def __init__(self, inside: np.ndarray) -> None:
        everywhere = np.ones(inside.shape[1], int)
        self._groups = (("", ("layer",), inside.T.astype(int)), ("total_", (), everywhere))

    def __call__(
        self, name: str, dims: tuple[str, ...], marks: np.ndarray, dead: np.ndarray | None = None
    ) -> dict[str, xr.Variable]:
        """Return counts of marks (*dims, channel), and precision and recall where asked for."""
        found = {}
        for prefix, layer, members in self._groups:
            marked = marks.astype(int) @ members
            rows = [("count", marked, f"channels that are {name}", "numpy.sum")]
            if dead is not None:
                both, all_dead = (marks & dead).astype(int) @ members, dead.astype(int) @ members
                rows += [
                    ("dead_count", both, f"channels that are {name} and dead", "numpy.sum"),
                    (
                        "precision",
                        _share(both, marked),
                        f"share of the {name} channels that are dead",
                        "sklearn.metrics.precision_score",
                    ),
                    (
                        "recall",
                        _share(both, all_dead),
                        f"share of the dead channels that are {name}",
                        "sklearn.metrics.recall_score",
                    ),
                ]
            for what, values, text, formula in rows:
                found[f"{prefix}{name}_{what}"] = schema.variable(
                    (*dims, *layer), values, units="1", long_name=text, formula=formula
                )
        return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.broadcast_to(whole, np.shape(part))
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
