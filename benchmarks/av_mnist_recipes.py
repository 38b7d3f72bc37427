"""What all recipes make of AV-MNIST: images with 25 % of their energy, sounds at 20 dB.

Needs the extra `audio` and the data (see `imbalance_lens.datasets.AVMNIST`)::

    python -m benchmarks.av_mnist_recipes data

Two small convolutional encoders with BatchNorm and a linear layer on both, 1,200 pairs to train on,
300 for the best epoch and for recipes that learn from held-out data, and 300 for the test. Seeds
change the first weights, the order, and which of the 2,700 pairs are trained on and held out. Each
finished run is kept in `--runs`; what is interrupted goes on with the next. Wall times are not
reported: runs of an hour meet other work on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch.utils.data import DataLoader, Dataset, random_split

import recipes
from benchmarks.side_by_side import RESULTS, write
from imbalance_lens.datasets import AVMNIST
from imbalance_lens.models import LateFusion

MODALITIES = ("audio", "visual")
TOGETHER = "opm + ogm_ge"
LEARNED, HELD_OUT = 1200, 300
WIDTH, BATCH = 8, 32
SEEDS, EPOCHS = 5, 5
LEFT_OUT = ("greedy",)
"""Needs modules between the encoders, which late fusion does not have."""
SETTINGS = {"mslr": {"window": 2}}
"""What is not as by default: rates that follow five epochs before them never would in five."""
DIFFICULTY: dict[str, Any] = {"audio_snr_db": 20.0, "visual_energy": 0.25}


def what() -> dict[str, Any]:
    """Return the recipes for late fusion with their settings, and two that go together."""
    fit = [name for name in recipes.names() if name not in ("none", *LEFT_OUT)]
    single = {name: (name, SETTINGS.get(name, {})) for name in fit}
    return {"none": "none", **single, TOGETHER: ["opm", "ogm_ge"]}


def loaders(train: Dataset, test: Dataset, seed: int) -> dict[str, DataLoader]:
    """Return the loaders of a seed; which pairs are trained on and held out depends on it."""
    draw = torch.Generator().manual_seed(seed)
    rest = len(train) - LEARNED - HELD_OUT  # pyright: ignore[reportArgumentType]
    learned, held_out, _ = random_split(train, [LEARNED, HELD_OUT, rest], draw)
    return {
        "train": DataLoader(learned, BATCH, shuffle=True),
        "val": DataLoader(held_out, 100),
        "test": DataLoader(test, 100),
    }


def compared(
    data: Path,
    folder: Path | None,
    *,
    rows: dict[str, Any] | None = None,
    seeds: int | Iterable[int] = SEEDS,
    epochs: int = EPOCHS,
    **training: Any,
) -> recipes.Comparison:
    """Train with every recipe over the seeds, and measure on the test pairs."""
    train, test = (AVMNIST(part, root=data, **DIFFICULTY) for part in ("train", "test"))
    return recipes.compare(
        what() if rows is None else rows,
        partial(LateFusion.small, MODALITIES, classes=10, width=WIDTH),
        partial(loaders, train, test),
        epochs=epochs,
        seeds=seeds,
        folder=folder,
        optimizer=partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4),
        **training,
    )


def known(number: float) -> float | None:
    """Return a number as JSON knows it: None where there is none."""
    return None if math.isnan(number) else float(number)


@click.command(help=__doc__)
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--runs", "folder", default="out/av_mnist_recipes", type=click.Path(path_type=Path))
@click.option("--seeds", default=SEEDS, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(data: Path, folder: Path, seeds: int, threads: int) -> None:
    """Train what is not done yet, print the table, and write it."""
    torch.set_num_threads(threads)
    folder.parent.mkdir(parents=True, exist_ok=True)
    found = compared(data, folder, seeds=seeds, progress=True)
    told = found.dataset
    metrics = [name for name in told["metric"].values.tolist() if name != "time_ratio"]
    shown = found.table(metrics=metrics)
    print(shown)
    numbers = {
        recipe: {
            metric: {
                "values": [*map(known, told["value"].sel(recipe=recipe, metric=metric).values)],
                "p_value": known(told["p_value"].sel(recipe=recipe, metric=metric).item()),
            }
            for metric in metrics
        }
        for recipe in told["recipe"].values.tolist()
    }
    told_again = {"protocol": found.protocol, "failures": found.failures, "notes": found.notes}
    write("av_mnist_recipes", {**told_again, "found": numbers})
    (RESULTS / "av_mnist_recipes.txt").write_text(f"{shown}\n")


if __name__ == "__main__":
    main()
