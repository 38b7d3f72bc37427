"""`imbalance-lens train`: train a model with remedies for imbalance."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..files import replacing
from ..report.storage import write_tree
from ..shadow import import_recipes
from ._answers import answers, json_text, saving
from ._objects import loaders_from, model_from
from ._options import (
    FILE,
    Pair,
    as_json,
    the_data,
    the_model,
    together,
)
from ._settings import settings_of
from ._training import arguments_of, the_epochs, the_training

if TYPE_CHECKING:
    from torch import nn

    from recipes import Fit


@click.command("train")
@click.option(
    "--recipe",
    "names",
    multiple=True,
    required=True,
    help="The remedy; give it more than once for several that go together. 'none' trains plainly.",
)
@the_model
@the_data
@the_epochs
@click.option(
    "--set",
    "settings",
    type=Pair("setting", "value"),
    multiple=True,
    help="A setting of the recipes, as alpha=0.5; once per setting.",
)
@the_training
@click.option("--seed", type=int, help="Of everything random, the making of the model included.")
@click.option("--checkpoint", type=FILE, help="Folder in which the state is kept after each epoch.")
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Go on from the checkpoint where there is one.",
)
@click.option("--out", type=FILE, help="Save the trained weights in this file, as safetensors.")
@click.option("--history", type=FILE, help="Save what was recorded in this file, as netCDF.")
@as_json
@answers
def train(
    names: tuple[str, ...],
    model_name: str,
    data_name: str,
    settings: tuple[tuple[str, str], ...],
    optimizer_name: str | None,
    scheduler_name: str | None,
    encoders: tuple[tuple[str, str], ...],
    out: Path | None,
    history: Path | None,
    as_json: bool,
    **others: Any,
) -> str | None:
    """Train a model with remedies for imbalance.

    Does what recipes.apply does. Under torchrun it trains on all ranks: torchrun
    --nproc-per-node 2 -m imbalance_lens train ... The function that --data names returns the
    loader, or (train, val), or a mapping with 'train' and 'val'.
    """
    recipes = import_recipes()
    texts = together("--set", settings)
    own = settings_of([recipes.get(name) for name in names], texts)
    main = os.environ.get("RANK", "0") == "0"
    save_weights = saving(out if main else None, _write_weights)
    save_history = saving(history if main else None, write_tree)
    with _seeded(others["seed"]):
        given = arguments_of(optimizer_name, scheduler_name, encoders, others) | own
        model = model_from(model_name)
        loader, val_loader = loaders_from(data_name)
        fit = recipes.apply(names, model, loader, val_loader=val_loader, **given)
    if main:
        save_weights(fit.model)
        save_history(_tree(fit))
    if not main:
        return None
    return json_text(_numbers(fit)) if as_json else fit.summary()


def _write_weights(model: nn.Module, path: Path) -> None:
    from recipes._training.storable import serialized

    with replacing(path) as draft:
        draft.write_bytes(serialized(model.state_dict()))


def _seeded(seed: int | None) -> Any:
    from recipes._training.seeds import seeded

    return nullcontext() if seed is None else seeded(seed)


def _tree(fit: Fit) -> Any:
    import xarray as xr

    return xr.DataTree(fit.history)


def _numbers(fit: Fit) -> Mapping[str, Any]:
    """Return what the epoch came to whose weights the model has, and what it was trained with."""
    history = fit.history
    last = history.sizes["epoch"] - 1
    at = last if fit.best_epoch is None else fit.best_epoch
    numbers: dict[str, Any] = {}
    for name, variable in history.data_vars.items():
        if "epoch" in variable.dims:
            values = variable.isel(epoch=at)
            by_modality = zip(history["modality"].values.tolist(), values.values.flat, strict=False)
            numbers[str(name)] = (
                {modality: float(value) for modality, value in by_modality}
                if values.ndim
                else float(values)
            )
    return {
        "recipes": list(fit.recipes),
        "readout": fit.readout,
        "epochs": history.sizes["epoch"],
        "steps": history.sizes["step"],
        "best_epoch": fit.best_epoch,
        "numbers": numbers,
        "imbalance_lens_version": history.attrs["imbalance_lens_version"],
    }


COMMAND = train
