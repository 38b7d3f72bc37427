"""`imbalance-lens scan`: which BatchNorm channels of a checkpoint are switched off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..report.storage import write_tree
from ..report.words import percent
from ..schema import from_json
from ._answers import answers, json_text, saving, table
from ._options import FILE, as_json, the_trust

if TYPE_CHECKING:
    import xarray as xr


@click.command("scan")
@click.argument("file", type=FILE)
@click.option(
    "--threshold",
    "thresholds",
    type=float,
    multiple=True,
    help="Count what is smaller than this; give it more than once for several.",
)
@click.option(
    "--criterion",
    type=click.Choice(["pair", "gamma", "relative"]),
    help="What is compared: a channel's scale and shift (pair, the default), its scale (gamma), "
    "or its scale against the median of the layer (relative).",
)
@the_trust
@click.option("--out", type=FILE, help="Save all numbers in this file, as netCDF.")
@click.option("--filters", type=FILE, help="Save a convolution's filters in this file, likewise.")
@click.option(
    "--layer", help="Which convolution. Default: the first that a BatchNorm layer follows."
)
@as_json
@answers
def scan(
    file: Path,
    thresholds: tuple[float, ...],
    criterion: str | None,
    trust: bool,
    out: Path | None,
    filters: Path | None,
    layer: str | None,
    as_json: bool,
) -> str:
    """Count the abnormal BatchNorm channels in the checkpoint FILE.

    It looks at the stored weights only, and needs neither model nor data.
    """
    import xarray as xr

    from ..filters import scan_filters
    from ..probes.abnormal_batchnorm import scan_checkpoint

    if layer is not None and filters is None:
        raise click.UsageError("--layer says whose filters to save; say where, with --filters.")
    asked: dict[str, Any] = {"thresholds": thresholds, "criterion": criterion}
    given = {name: value for name, value in asked.items() if value}
    save, save_filters = saving(out, write_tree), saving(filters, write_tree)
    found = scan_checkpoint(file, **given, trust=trust)
    if filters is not None:
        save_filters(xr.DataTree(scan_filters(file, layer, **given, trust=trust)))
    save(xr.DataTree(found))
    if found.attrs["precision_note"]:
        click.echo(f"Note: {found.attrs['precision_note']}.", err=True)
    numbers = _numbers(found, file)
    return json_text(numbers) if as_json else _text(numbers)


def _numbers(found: xr.Dataset, file: Path) -> dict[str, Any]:
    counts = found["abnormal_count"].transpose("layer", "threshold")
    channels = found["channels"].values.tolist()
    rows = zip(found["layer"].values.tolist(), channels, counts.values.tolist(), strict=True)
    return {
        "file": str(file),
        "criterion": from_json(found.attrs["settings"])["criterion"],
        "precision": found.attrs["precision"],
        "thresholds": found["threshold"].values.tolist(),
        "layers": [
            {"layer": layer, "channels": size, "abnormal": count} for layer, size, count in rows
        ],
        "total": {
            "channels": sum(channels),
            "abnormal": counts.sum("layer").values.tolist(),
            "share": found["total_ratio"].values.tolist(),
        },
    }


def _text(numbers: dict[str, Any]) -> str:
    layers, total = numbers["layers"], numbers["total"]
    rows = [
        (row["layer"], str(row["channels"]), *map(str, row["abnormal"]))
        for row in [*layers, {"layer": "total", **total}]
    ]
    shares = ("share", "", *map(percent, total["share"]))
    header = ("layer", "channels", *(f"<{bound:g}" for bound in numbers["thresholds"]))
    return (
        f"{numbers['file']}: {len(layers)} BatchNorm layers in {numbers['precision']}, "
        f"abnormal channels by {numbers['criterion']}\n\n{table(header, [*rows, shares])}"
    )


COMMAND = scan
