"""Does a checkpoint for images help an encoder of sounds, and does ABRi help the checkpoint?

ResNet-56, trained on CIFAR-10 by others, becomes a classifier of the log-mel spectrograms of
ESC-10: 32 mels x 64 frames of 5 s, repeated to three colors. Five folds; each training runs its
epochs to the end, and nothing is chosen by the test fold. Needs the extra `audio`, and in one
folder `esc10/` and `checkpoints/resnet56-4bfd9763.th` (of akamaster/pytorch_resnet_cifar10)::

    python -m benchmarks.cross_modal_init data

Each finished training is kept in `--runs`; what is interrupted goes on with the next.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from benchmarks.cross_modal_table import show
from benchmarks.esc10_sounds import FOLDS, Sounds, augmented, read_sounds
from benchmarks.side_by_side import write
from imbalance_lens import formulas
from imbalance_lens.checkpoints import load_into
from imbalance_lens.files import replacing
from imbalance_lens.probes.dead_features import DeadFeatures
from recipes import abri
from tests.resnet_cifar import ResNetCifar

CHECKPOINT = "resnet56-4bfd9763.th"
SETTINGS = ("random", "checkpoint", "checkpoint + ABRi")
BASELINES = ("checkpoint + naive", "checkpoint + full")
"""What else can be done: fresh parameters for channels of tiny scale, and for all."""
NAIVE_BELOW = 1e-2
"""Below 1e-6, the bound of the authors' code, this checkpoint has no scale."""
THRESHOLDS = (1e-2, 1e-3)
EPOCHS, BATCH = 15, 16
RATE, MOMENTUM, DECAY = 0.02, 0.9, 1e-4


class BeforeAfter(nn.Module):
    """An encoder before its training and after it, as the two modalities of one model."""

    def __init__(self, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        return self.before(before) + self.after(after)


def start(setting: str, checkpoint: Path, seed: int) -> ResNetCifar:
    """Return the network that a training begins with; its last layer is always a fresh one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ResNetCifar(56)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
    fresh = {name: value.clone() for name, value in model.linear.state_dict().items()}
    if setting != "random":
        load_into(model, checkpoint)
        model.linear.load_state_dict(fresh)
    if setting == "checkpoint + ABRi":
        abri.convert(model)
    elif setting == "checkpoint + naive":
        abri.naive(model, threshold=NAIVE_BELOW)
    elif setting == "checkpoint + full":
        abri.naive(model, threshold=float("inf"))
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int) -> list[float]:
    """Train, and return the mean loss of every epoch; seeds give the same batches to all."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(_groups(model), RATE, MOMENTUM, weight_decay=DECAY)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    losses = []
    model.train()
    for _ in range(epochs):
        total = torch.zeros(())
        for rows in torch.randperm(len(labels), generator=draw).split(BATCH):
            logits = model(augmented(images[rows], draw))
            loss = nn.functional.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        scheduler.step()
        losses.append(total.item() / len(labels))
    return losses


def run(
    setting: str, fold: int, sounds: Sounds, checkpoint: Path, *, epochs: int = EPOCHS
) -> dict[str, Any]:
    """Train on four folds, test on the other, and count channels before and after."""
    parts = sounds.split(fold)
    images, labels = parts["test"]
    model = start(setting, checkpoint, seed=fold)
    before = start(setting, checkpoint, seed=fold)
    begun = time.perf_counter()
    losses = train(model, *parts["train"], epochs, seed=fold)
    seconds = time.perf_counter() - begun
    for each in (before, model):
        abri.fold(each)
    right = _right(model, images, labels)
    return {
        "setting": setting,
        "fold": fold,
        "epochs": epochs,
        "accuracy": right.float().mean().item(),
        "train_accuracy": _right(model, *parts["train"]).float().mean().item(),
        "right": right.int().tolist(),
        "losses": losses,
        "seconds": seconds,
        "channels": _channels(before, model, images, labels),
    }


def runs(
    settings: Iterable[str], sounds: Sounds, checkpoint: Path, folder: Path
) -> Iterator[dict[str, Any]]:
    """Yield what each training found, those in the folder as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for fold in FOLDS:
        for setting in settings:
            file = folder / f"{setting.replace(' ', '')}-{fold}.json"
            if not file.exists():
                found = run(setting, fold, sounds, checkpoint)
                with replacing(file) as draft:
                    draft.write_text(json.dumps(found))
                click.echo(f"{setting}, fold {fold}: {found['accuracy']:.3f}")
            yield json.loads(file.read_text())


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameters, those of ABRi's alpha without weight decay."""
    alphas = [p for name, p in model.named_parameters() if name.endswith(".alpha")]
    others = [p for name, p in model.named_parameters() if not name.endswith(".alpha")]
    return [{"params": others}, {"params": alphas, "weight_decay": 0.0}]


@torch.no_grad()
def _right(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model(part).argmax(1) for part in images.split(BATCH)]) == labels


def _channels(before: nn.Module, after: nn.Module, images: Tensor, labels: Tensor) -> dict:
    """Count channels with tiny parameters, and those that are dead on the test fold.

    Running statistics of a checkpoint for images say nothing about sounds, so before the training
    a channel is judged by the statistics of the batch.
    """
    pair = BeforeAfter(before, after)
    found: dict[str, Any] = {}
    for name, statistics in {"before": "batch", "after": "running"}.items():
        layers = [each for each in getattr(pair, name).modules() if _is_batchnorm(each)]
        found[name] = {
            "channels": sum(len(layer.weight) for layer in layers),
            "abnormal": {
                str(bound): sum(
                    int(formulas.abnormal_channels(layer.weight, layer.bias, bound).sum())
                    for layer in layers
                )
                for bound in THRESHOLDS
            },
        }
        probe = DeadFeatures(bn_stats=statistics)
        report = lens.diagnose(
            pair,
            [(images, images, labels)],
            {"before": "before", "after": "after"},
            [probe],
            progress=False,
        )
        dead = report.tree["dead_features"].to_dataset()
        own = dead.isel(layer=dead["modality"] == name)
        behind = own.isel(layer=own["kind"] == "batchnorm")
        for place, where in {"all": own, "behind_batchnorm": behind}.items():
            found[name][f"dead_{place}"] = int(where["dead_count"].sum())
            found[name][f"seen_{place}"] = int(where["channels"].sum())
    return found


def _is_batchnorm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d)


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--runs", "kept", default="out/cross_modal_init", type=click.Path(path_type=Path))
@click.option("--also", multiple=True, type=click.Choice(BASELINES), help="Another setting.")
@click.option("--threads", default=1, show_default=True)
def main(folder: Path, kept: Path, also: tuple[str, ...], threads: int) -> None:
    """Train what is not done yet, print the table, and write it."""
    torch.set_num_threads(threads)
    sounds = read_sounds(folder / "esc10")
    found = list(runs((*SETTINGS, *also), sounds, folder / "checkpoints" / CHECKPOINT, kept))
    protocol = {
        "epochs": EPOCHS,
        "batch": BATCH,
        "learning_rate": RATE,
        "momentum": MOMENTUM,
        "weight_decay": DECAY,
        "naive_below": NAIVE_BELOW,
        "shape": list(sounds.split(FOLDS[0])["test"][0].shape[1:]),
    }
    write("cross_modal_init", {"protocol": protocol, **show(found, THRESHOLDS)})


if __name__ == "__main__":
    main()
