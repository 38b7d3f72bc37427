"""Train the same model with several recipes, and compare what became of its encoders.

First the phenomenon: each modality trained alone, and the same encoders inside a jointly trained
model; a linear classifier on the frozen features tells how good they are. Then the remedies, over
several seeds. Nothing is chosen by the test data: every training runs its epochs to the end::

    python examples/apply_recipe.py --root data --seeds 3

`data` is the folder of AV-MNIST (see `imbalance_lens.datasets.AVMNIST`; needs the extra `audio`);
images with 25 % of their energy, sounds at 20 dB. Without it, the bundled AV-Digits are used. With
`--folder runs`, what is interrupted goes on with the next run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch.utils.data import DataLoader, Dataset

import recipes
from imbalance_lens.datasets import AVMNIST, AVDigits
from imbalance_lens.models import LateFusion

MODALITIES = ("audio", "visual")
COMPARED: dict[str, str | list[str]] = {
    "each alone": "unimodal",
    "joint": "none",
    "ogm_ge": "ogm_ge",
    "opm": "opm",
    "opm + ogm_ge": ["opm", "ogm_ge"],
    "multi_loss": "multi_loss",
    "mlb": "mlb",
}


def compared(
    train: Dataset, test: Dataset, rows: Mapping[str, Any] = COMPARED, **settings: Any
) -> recipes.Comparison:
    """Train with every recipe, from the same weights at each seed, and measure on the test data."""
    loaders = {
        "train": DataLoader(train, batch_size=64, shuffle=True),
        "test": DataLoader(test, batch_size=100),
    }
    return recipes.compare(
        rows,
        partial(LateFusion.small, MODALITIES, classes=10),
        loaders,
        optimizer=partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4),
        **settings,
    )


@click.command(help=__doc__)
@click.option("--root", type=click.Path(file_okay=False), envvar="IMBALANCE_LENS_DATA")
@click.option("--seeds", default=3, show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--folder", type=click.Path(file_okay=False), help="Keep finished runs here.")
def main(root: str | None, seeds: int, epochs: int, folder: str | None) -> None:
    """Train, measure, print the table."""
    if root is not None and (Path(root) / "fsdd").is_dir():
        make = partial(AVMNIST, root=root, audio_snr_db=20.0, visual_energy=0.25)
        click.echo("AV-MNIST, images with 25 % of their energy, sounds at 20 dB")
    else:
        make = partial(AVDigits, visual_noise=0.5)
        click.echo("AV-Digits, visual noise 0.5")
    click.echo(compared(make("train"), make("test"), seeds=seeds, epochs=epochs, folder=folder))


if __name__ == "__main__":
    main()
