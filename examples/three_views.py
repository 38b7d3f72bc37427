"""Diagnose a model of three or six views: the multiple features of handwritten digits.

Needs the file of the UCI data set Multiple Features as one `handwritten.mat` (2,000 digits, six
views of 240, 76, 216, 47, 64 and 6 features, cell array `X` and labels `Y`)::

    python examples/three_views.py data/multiview/handwritten.mat
"""

from __future__ import annotations

from collections.abc import Sequence

import click
import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor, nn
from torch.utils.data import DataLoader, StackDataset, Subset

import imbalance_lens as lens

VIEWS = ("pixels", "fourier", "profiles", "zernike", "karhunen", "morphology")


class Views(nn.Module):
    """A small network per view, and two layers over all of them."""

    def __init__(self, widths: dict[str, int], classes: int = 10) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width, 64), nn.BatchNorm1d(64), nn.ReLU())
                for name, width in widths.items()
            }
        )
        self.head = nn.Sequential(
            nn.Linear(64 * len(widths), 64), nn.ReLU(), nn.Linear(64, classes)
        )

    def forward(self, **views: Tensor) -> Tensor:
        """Return logits (batch, classes) from one (batch, width) input per view."""
        return self.head(torch.cat([self.nets[name](x) for name, x in views.items()], 1))


def read(path: str, views: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """Return standardized views and labels."""
    file = loadmat(path)
    labels = torch.from_numpy(file["Y"].ravel().astype(np.int64))
    inputs = {}
    for name, values in zip(VIEWS, file["X"].ravel(), strict=True):
        numbers = torch.from_numpy(np.asarray(values, dtype=np.float32))
        if name in views:
            inputs[name] = (numbers - numbers.mean(0)) / numbers.std(0).clamp_min(1e-6)
    return inputs, labels - labels.min()


@click.command(help=__doc__)
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
@click.option("--view", "views", multiple=True, type=click.Choice(VIEWS), default=VIEWS[::2])
@click.option("--epochs", default=10, show_default=True)
def main(path: str, views: tuple[str, ...], epochs: int) -> None:
    """Train on half of the digits and diagnose on the other half."""
    torch.manual_seed(0)
    inputs, labels = read(path, views)
    data = StackDataset(StackDataset(**inputs), labels)
    order = torch.randperm(len(labels)).tolist()
    train = DataLoader(Subset(data, order[:1000]), 50, shuffle=True)
    test = DataLoader(Subset(data, order[1000:]), 100)
    model = Views({name: x.shape[1] for name, x in inputs.items()})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for batch, targets in train:
            loss = nn.functional.cross_entropy(model(**batch), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    report = lens.diagnose(model, test)
    click.echo(lens.explain(lens.find_anatomy(model, next(iter(test))[0]), model))
    click.echo(f"\n{report}")


if __name__ == "__main__":
    main()
