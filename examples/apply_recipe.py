"""Train the same model with several recipes, and compare what became of its encoders.

First the phenomenon: each modality trained alone, and the same encoders inside a jointly trained
model; a linear classifier on the frozen features tells how good they are. Then the remedies, over
several seeds. Nothing is chosen by the test data: every training runs its epochs to the end::

    python examples/apply_recipe.py --root data --seeds 3

`data` is the folder of AV-MNIST (see `imbalance_lens.datasets.AVMNIST`; needs the extra `audio`);
images with 25 % of their energy, sounds at 20 dB. Without it, the bundled AV-Digits are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import imbalance_lens as lens
import recipes
from imbalance_lens.datasets import AVMNIST, AVDigits
from imbalance_lens.models import LateFusion

MODALITIES = ("audio", "visual")
COMPARED: dict[str, tuple[str | list[str], dict[str, object]]] = {
    "each alone": ("unimodal", {}),
    "joint": ("none", {}),
    "ogm_ge": ("ogm_ge", {}),
    "opm": ("opm", {}),
    "opm + ogm_ge": (["opm", "ogm_ge"], {}),
    "multi_loss": ("multi_loss", {}),
    "mlb": ("mlb", {}),
}


class Outcome(NamedTuple):
    """What became of one training.

    Attributes:
        joint: accuracy of the model.
        probes: modality -> accuracy of a linear classifier on its frozen features.
        ratio: modality -> discrepancy ratio.
    """

    joint: float
    probes: dict[str, float]
    ratio: dict[str, float]


def outcome(
    recipe: str | list[str],
    settings: dict[str, object],
    train: Dataset,
    test: Dataset,
    *,
    epochs: int,
    seed: int,
) -> Outcome:
    """Train a model and measure it on data that nothing was chosen by."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LateFusion.small(MODALITIES, classes=10)
    recipes.apply(
        recipe,
        model,
        DataLoader(train, batch_size=64, shuffle=True),
        epochs=epochs,
        optimizer=partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-4),
        seed=seed,
        **settings,
    )
    report = lens.diagnose(
        model,
        DataLoader(test, batch_size=100),
        probes=["linear_probe", "zero_out", "discrepancy"],
        train=DataLoader(train, batch_size=100),
    )
    probe = report.tree["linear_probe"]["accuracy"]
    ratio = report.tree["discrepancy"]["total_ratio"]
    return Outcome(
        report.tree["zero_out"]["accuracy"].sel(coalition="+".join(MODALITIES)).item(),
        {name: probe.sel(head=name).item() for name in MODALITIES},
        {name: ratio.sel(modality=name).item() for name in MODALITIES},
    )


def row(name: str, outcomes: Iterable[Outcome], leader: str) -> str:
    """Return one line of the table: mean and standard deviation over the seeds."""
    rows = list(outcomes)
    columns = [
        [100 * found.joint for found in rows],
        *([100 * found.probes[modality] for found in rows] for modality in MODALITIES),
    ]
    cells = [f"{np.mean(column):6.1f} ± {np.std(column):4.1f}" for column in columns]
    if name == "each alone":  # its joint head is not trained
        return f"{name:<14}{'':>13}  {'  '.join(cells[1:])}"
    ratios = [found.ratio[leader] for found in rows]
    return f"{name:<14}{'  '.join(cells)}  {np.mean(ratios):5.2f} ± {np.std(ratios):4.2f}"


@click.command(help=__doc__)
@click.option("--root", type=click.Path(file_okay=False), envvar="IMBALANCE_LENS_DATA")
@click.option("--seeds", default=3, show_default=True)
@click.option("--epochs", default=10, show_default=True)
def main(root: str | None, seeds: int, epochs: int) -> None:
    """Train, measure, print the table."""
    if root is not None and (Path(root) / "fsdd").is_dir():
        make = partial(AVMNIST, root=root, audio_snr_db=20.0, visual_energy=0.25)
        click.echo("AV-MNIST, images with 25 % of their energy, sounds at 20 dB")
    else:
        make = partial(AVDigits, visual_noise=0.5)
        click.echo("AV-Digits, visual noise 0.5")
    train, test = make("train"), make("test")
    found: dict[str, list[Outcome]] = {}
    for name, (recipe, settings) in COMPARED.items():
        found[name] = [
            outcome(recipe, settings, train, test, epochs=epochs, seed=seed)
            for seed in range(seeds)
        ]
        click.echo(f"{name} done", err=True)
    leader = max(MODALITIES, key=lambda name: np.mean([o.ratio[name] for o in found["joint"]]))
    click.echo(f"{seeds} seeds, {epochs} epochs, accuracy in %, mean ± standard deviation")
    probes = "  ".join(f"{'probe ' + name:>13}" for name in MODALITIES)
    click.echo(f"{'':<14}{'joint':>13}  {probes}  {'ratio of ' + leader:>12}")
    for name, outcomes in found.items():
        click.echo(row(name, outcomes, leader))


if __name__ == "__main__":
    main()
