"""Small comparisons, and what of them does not hang on the clock."""

from functools import partial
from typing import Any

import torch
import xarray as xr
from torch import nn
from torch.utils.data import DataLoader

import recipes
from imbalance_lens.testing import PlantedData, PlantedModel, planted

SIGNAL = {"audio": 2.0, "visual": 1.0}
ONE = nn.Linear(1, 1)
sgd = partial(torch.optim.SGD, lr=0.05)


def model() -> PlantedModel:
    made = planted("audio")[0]
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def loader(seed: int, examples: int = 48, *, shuffle: bool = False) -> DataLoader:
    return DataLoader(PlantedData(SIGNAL, examples=examples, seed=seed), 16, shuffle=shuffle)


def loaders(**more: Any) -> dict[str, Any]:
    return {"train": loader(0, shuffle=True), "test": loader(1), **more}


def compared(what: Any = ("none", "ogm_ge"), factory: Any = model, data: Any = None, **more: Any):
    given = {"epochs": 1, "seeds": 2, "optimizer": sgd, "device": "cpu", "flops": False, **more}
    return recipes.compare(what, factory, loaders() if data is None else data, **given)


def timeless(found: recipes.Comparison) -> xr.Dataset:
    """All that does not hang on the clock."""
    kept = found.dataset.drop_vars("seconds")
    names = [name for name in kept["metric"].values if name != "time_ratio"]
    return kept.sel(metric=names)
