"""Train models on AV-MNIST at several difficulties, and see that the verdict follows the data.

Needs the extra `audio` and the data (see `imbalance_lens.datasets.AVMNIST`)::

    python examples/av_mnist.py --root data --out out/av_mnist

For each difficulty it trains late fusion with a plain PyTorch loop, saves the checkpoint,
diagnoses it from the file, trains each modality alone to tell the report what its encoder could
have learned, prints the report and saves it beside.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import trange

import imbalance_lens as lens
from imbalance_lens.datasets import AVMNIST
from imbalance_lens.files import replacing
from imbalance_lens.models import LateFusion

DIFFICULTIES = {
    "clean sound, 10 % visual energy": {"audio_snr_db": None, "visual_energy": 0.10},
    "sound at 20 dB, 25 % visual energy": {"audio_snr_db": 20.0, "visual_energy": 0.25},
    "sound at -10 dB, 25 % visual energy": {"audio_snr_db": -10.0, "visual_energy": 0.25},
}


MODALITIES = ("audio", "visual")


def trained(data: AVMNIST, epochs: int, modalities: Iterable[str] = MODALITIES) -> LateFusion:
    """Return a late-fusion model, of one modality or more, after some epochs of plain SGD."""
    torch.manual_seed(0)
    model = LateFusion.small(modalities, classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(data, batch_size=64, shuffle=True)
    for _ in trange(epochs, desc="train", unit="epoch", disable=None):
        for inputs, labels in loader:
            loss = nn.functional.cross_entropy(model(**inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@torch.no_grad()
def accuracy(model: nn.Module, data: AVMNIST) -> float:
    """Return the share of the examples that a model gets right."""
    model.eval()
    loader = DataLoader(data, batch_size=100)
    right = [model(**inputs).argmax(1) == labels for inputs, labels in loader]
    return torch.cat(right).float().mean().item()


@click.command(help=__doc__)
@click.option("--root", type=click.Path(file_okay=False), envvar="IMBALANCE_LENS_DATA")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/av_mnist")
@click.option("--epochs", default=20, show_default=True)
@click.option("--only", type=click.Choice(list(DIFFICULTIES)), help="One difficulty.")
def main(root: str | None, out: Path, epochs: int, only: str | None) -> None:
    """Train, save, diagnose from the file, print and save the report."""
    out.mkdir(parents=True, exist_ok=True)
    for number, (name, difficulty) in enumerate(DIFFICULTIES.items()):
        if only not in (None, name):
            continue
        train, test = (AVMNIST(part, root=root, **difficulty) for part in ("train", "test"))
        checkpoint = out / f"{number}.pt"
        with replacing(checkpoint) as draft:
            torch.save(trained(train, epochs).state_dict(), draft)
        model = LateFusion.small(MODALITIES, classes=10)
        model.load_state_dict(lens.load_weights(checkpoint))
        report = lens.diagnose(model, DataLoader(test, 100), train=DataLoader(train, 100))
        alone = {name: accuracy(trained(train, epochs, [name]), test) for name in MODALITIES}
        report = report.compared_with(alone)
        report.save(out / f"{number}.nc")
        click.echo(f"\n{name}\n{'=' * len(name)}\n{report}")


if __name__ == "__main__":
    main()
