"""`imbalance-lens figures`: what a file has numbers for, drawn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SchemaError
from ..files import replacing
from ._answers import answers, json_text
from ._options import FILE, as_json

if TYPE_CHECKING:
    import xarray as xr

FORMATS = ("pdf", "svg", "png")
OVERVIEW = "overview"


@click.command("figures")
@click.argument("files", metavar="FILE...", type=FILE, nargs=-1, required=True)
@click.option("--out", type=FILE, required=True, help="Folder for the figures; made if not there.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="What the figures are written as; each figure's numbers are written as CSV.",
)
@click.option(
    "--figure",
    "wanted",
    multiple=True,
    help="Which figure to draw, once per figure. Default: all that the file has numbers for.",
)
@as_json
@answers
def figures(
    files: tuple[Path, ...], out: Path, form: str, wanted: tuple[str, ...], as_json: bool
) -> str:
    """Draw a saved report, or the history of a training, for a paper.

    A FILE is what `diagnose --out`, `scan --out`, `compare --out` or `train --history` wrote.
    Neither the model nor the data is needed. Of several files, of states of one model in the order
    of its training, figures over epochs and of before and after are drawn from all, and every
    other one from the last.
    """
    from ..figures import FIGURES, save
    from ..registry import unknown
    from ..report.tables import tidy

    names = (*FIGURES.names(), OVERVIEW)
    for name in wanted:
        if name not in names:
            raise unknown("figure", name, names)
    tree, sources = _opened(files)
    fitting = {
        name: next((ds for _, ds in sources if FIGURES.get(name).fits(ds)), None)
        for name in FIGURES.names()
        if not wanted or name in wanted
    }
    found = {name: ds for name, ds in fitting.items() if ds is not None}
    whole = tree if OVERVIEW in wanted or (found and not wanted) else None
    there = {*found, *([] if whole is None else [OVERVIEW])}
    missing = [name for name in wanted if name not in there]
    if missing or not there:
        raise _nothing_to_draw(files[-1], missing, dict(sources))
    drawn: dict[str, list[str]] = {}
    out.mkdir(parents=True, exist_ok=True)
    for name, ds in found.items():
        figure = FIGURES.get(name)
        save(figure.plot(ds), out / f"{name}.{form}")
        with replacing(out / f"{name}.csv") as draft:
            tidy(figure.numbers(ds)).to_csv(draft, index=False)
        drawn[name] = [f"{name}.{form}", f"{name}.csv"]
    if whole is not None:
        from ..figures.overview import plot_overview

        save(plot_overview(whole), out / f"{OVERVIEW}.{form}")
        drawn[OVERVIEW] = [f"{OVERVIEW}.{form}"]
    if as_json:
        return json_text({name: [str(out / path) for path in of] for name, of in drawn.items()})
    return "\n".join(str(out / path) for of in drawn.values() for path in of)


def _nothing_to_draw(file: Path, missing: list[str], held: Iterable[str]) -> SchemaError:
    from ..figures import FIGURES

    what = ", ".join(missing) or "any figure"
    curves = any(name != OVERVIEW and FIGURES.get(name).several for name in missing)
    hint = " Curves need two or more epochs, of a history or of several files." if curves else ""
    return SchemaError(f"{file} has no numbers for {what}; it holds {', '.join(held)}.{hint}")


def _opened(files: tuple[Path, ...]) -> tuple[xr.DataTree | None, list[tuple[str, xr.Dataset]]]:
    """Return the tree of the last file, if it is a report, and all datasets to draw from."""
    from ..figures._tree import of_states

    opened = [_open(file, files[-1].stem) for file in files]
    tree, parts = opened[-1]
    over = of_states([parts for _, parts in opened]) if len(files) > 1 else {}
    return tree, [*over.items(), *parts.items()]


def _open(file: Path, name: str) -> tuple[xr.DataTree | None, dict[str, xr.Dataset]]:
    """Return the tree, if the file is a report, and its datasets, or the one that it is."""
    from ..figures._tree import datasets
    from ..report import load_report

    try:
        tree = load_report(file).tree
    except SchemaError:
        alone = _dataset(file)
        if alone is None:
            raise
        return None, {name: alone}
    return tree, dict(datasets(tree))


def _dataset(file: Path) -> xr.Dataset | None:
    """Return what a file holds if that is one dataset of ours."""
    import xarray as xr

    try:
        found = xr.load_dataset(file, engine="h5netcdf", decode_times=False)
    except (OSError, ValueError):
        return None
    return found if found.data_vars and "schema_version" in found.attrs else None


COMMAND = figures
