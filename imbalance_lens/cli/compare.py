"""`imbalance-lens compare`: train with several recipes over several seeds, and compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..registry import unknown
from ..report.storage import write_tree
from ..schema import from_json
from ..shadow import import_recipes
from ._answers import answers, json_text, saving
from ._objects import model_from, split_data_from
from ._options import FILE, Pair, Written, as_json, the_model, together
from ._settings import settings_of
from ._training import arguments_of, the_epochs, the_training

if TYPE_CHECKING:
    from recipes import Comparison, Recipe


@click.command("compare")
@click.option(
    "--recipe",
    "rows",
    multiple=True,
    required=True,
    help="What to compare, once per row; several that go together are joined by +, as "
    "opm+ogm_ge. 'none' is always among them.",
)
@the_model
@click.option(
    "--data",
    "data_name",
    type=Written(),
    required=True,
    help="A mapping of loaders with 'train', 'test' and, where wanted, 'val', or a function that "
    "returns it; one with an argument gets the seed.",
)
@the_epochs
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many, counted from 0.",
)
@click.option(
    "--set",
    "settings",
    type=Pair("setting", "value"),
    multiple=True,
    help="A setting, as alpha=0.5, for every recipe that has it; once per setting.",
)
@the_training
@click.option(
    "--folder", type=FILE, help="Keep each finished run here, and go on with those that are not."
)
@click.option(
    "--flops/--no-flops",
    default=True,
    show_default=True,
    help="Count the operations too, in one further training per recipe.",
)
@click.option(
    "--form",
    type=click.Choice(["text", "csv", "latex"]),
    default="text",
    show_default=True,
    help="Of the table.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="A column of the table, once per column. Default: all.",
)
@click.option("--out", type=FILE, help="Save all numbers in this file, as netCDF.")
@as_json
@answers
def compare(
    rows: tuple[str, ...],
    model_name: str,
    data_name: str,
    settings: tuple[tuple[str, str], ...],
    optimizer_name: str | None,
    scheduler_name: str | None,
    encoders: tuple[tuple[str, str], ...],
    form: str,
    metrics: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    **others: Any,
) -> str:
    """Train with several recipes over several seeds, and compare what comes of it.

    Does what recipes.compare does. All begin alike at one seed, and all are measured on 'test',
    which nothing is chosen by.
    """
    recipes = import_recipes()
    given = arguments_of(optimizer_name, scheduler_name, encoders, others)
    compared = _chosen(recipes, rows, together("--set", settings))
    save = saving(out, write_tree)
    found = recipes.compare(
        compared, partial(model_from, model_name), split_data_from(data_name), **given
    )
    save(_tree(found))
    return json_text(_numbers(found)) if as_json else found.table(form, metrics=metrics or None)


def _chosen(recipes: Any, rows: Sequence[str], texts: Mapping[str, str]) -> list[Any]:
    """Return each row's recipes with those of the settings that they have."""
    chosen, known = [], set()
    for row in rows:
        names = row.split("+")
        classes: list[type[Recipe]] = [recipes.get(name) for name in names]
        own = {f.name for recipe in classes for f in dataclasses.fields(recipe) if f.init}
        known |= own
        theirs = {name: text for name, text in texts.items() if name in own}
        chosen.append((names, settings_of(classes, theirs)))
    for name in texts:
        if name not in known:
            raise unknown("setting of what is compared", name, sorted(known))
    return chosen


def _tree(found: Comparison) -> Any:
    import xarray as xr

    return xr.DataTree(found.dataset)


def _numbers(found: Comparison) -> Mapping[str, Any]:
    """Return the values over the seeds and what they rest on."""
    values, p_values = found.dataset["value"], found.dataset["p_value"]
    return {
        "seeds": values["seed"].values.tolist(),
        "recipes": {
            str(label): {
                str(metric): {
                    "values": values.sel(recipe=label, metric=metric).values.tolist(),
                    "p_value": p_values.sel(recipe=label, metric=metric).item(),
                }
                for metric in values["metric"].values
            }
            for label in values["recipe"].values
        },
        "settings": from_json(found.dataset.attrs["settings"]),
        "protocol": found.protocol,
        "notes": found.notes,
        "failures": found.failures,
    }


COMMAND = compare
