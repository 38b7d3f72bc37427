"""Do tiny BatchNorm parameters mean dead channels? Two published networks on CIFAR-10.

Needs, in one folder, `checkpoints/resnet20-12fca82f.th` and `checkpoints/resnet56-4bfd9763.th` (of
akamaster/pytorch_resnet_cifar10) and `cifar10/test.zip`, the test images as
`test/<class>/<number>.jpg`. From the repository::

    python -m examples.dead_channels data
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import xarray as xr
from torch.utils.data import DataLoader, TensorDataset

import imbalance_lens as lens
from imbalance_lens.capacity import join
from imbalance_lens.checkpoints import load_into
from imbalance_lens.probes.abnormal_batchnorm import AbnormalBatchnorm
from tests.resnet_cifar import Pair, ResNetCifar, cifar10_images

NETS = {"shallow": (20, "resnet20-12fca82f.th"), "deep": (56, "resnet56-4bfd9763.th")}
THRESHOLDS = (1e-1, 1e-2, 1e-3, 2e-5)
PROBABILITIES = (0.5, 0.9, 0.99, 0.9999)


def diagnosis(folder: Path, every: int) -> xr.DataTree:
    """Return what the probes say of both networks, as the two modalities of one."""
    nets = {name: ResNetCifar(depth) for name, (depth, _) in NETS.items()}
    for name, net in nets.items():
        load_into(net, folder / "checkpoints" / NETS[name][1])
    images, labels = cifar10_images(folder / "cifar10" / "test.zip", every=every)
    loader = DataLoader(TensorDataset(images, images, labels), batch_size=250)
    probes = ["dead_features", "zero_out", AbnormalBatchnorm(THRESHOLDS)]
    return lens.diagnose(Pair(**nets), loader, {name: name for name in nets}, probes).tree


def show(name: str, tree: xr.DataTree) -> None:
    """Print what is dead in one network, and how well its parameters foretell it."""
    accuracy = tree["zero_out"]["alone"].sel(modality=name).item()
    dead = tree["dead_features"].to_dataset()
    own = dead.isel(layer=dead["modality"] == name)
    own = own.isel(channel=np.isin(own["channel_layer"], own["layer"]))
    print(
        f"\nResNet-{NETS[name][0]}: accuracy {accuracy:.4f}, {own['examples'].max().item()} images"
    )
    for kind in ("batchnorm", "sum"):
        places = own.isel(layer=own["kind"] == kind)
        counts = {
            "channels": places["channels"].sum().item(),
            "dead": places["dead_count"].sum().item(),
            "constant": places["constant_count"].sum().item(),
            "nearly constant": places["low_variance_count"].sum().item(),
        }
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        print(f"behind a {kind}: {told}")
    abnormal = tree["abnormal_batchnorm"].to_dataset()
    show_layers(join(own, abnormal))
    show_totals(own, abnormal)


def show_layers(found: xr.Dataset) -> None:
    """Print the abnormal channels of every layer that has some, or dead ones, and how many die."""
    heads = "".join(f"{f'< {bound:g}':>10}" for bound in found["threshold"].values)
    print(f"\n{'dead / abnormal at':24}{heads}{'all dead':>10}")
    for layer in found["layer"].values:
        row = found.sel(layer=layer)
        pairs = zip(row["abnormal_dead_count"].values, row["abnormal_count"].values, strict=True)
        if row["dead_count"] or row["abnormal_count"].any():
            cells = "".join(f"{f'{dead} / {n}':>10}" for dead, n in pairs)
            print(f"{row['producer'].item():24}{cells}{row['dead_count'].item():10}")


def show_totals(dead: xr.Dataset, abnormal: xr.Dataset) -> None:
    """Print precision and recall over all layers."""
    print(f"\n{'judged by parameters':28}{'channels':>9}{'dead':>6}{'precision':>11}{'recall':>8}")
    found = join(dead, abnormal)
    rows = [
        (f"abnormal at {bound:g}", found.sel(threshold=bound), "total_abnormal")
        for bound in THRESHOLDS
    ]
    rows += [
        (f"dead_probability >= {p:g}", join(dead, abnormal, probability=p), "total_predicted")
        for p in PROBABILITIES
    ]
    for text, at, word in rows:
        count, both = (at[f"{word}_{name}"].item() for name in ("count", "dead_count"))
        precision, recall = (at[f"{word}_{name}"].item() for name in ("precision", "recall"))
        print(f"{text:28}{count:9}{both:6}{precision:11.2f}{recall:8.2f}")


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--every", default=1, show_default=True, help="Take every n-th image only.")
def main(folder: Path, every: int) -> None:
    """Diagnose both networks at once, and print a table for each."""
    tree = diagnosis(folder, every)
    for name in NETS:
        show(name, tree)


if __name__ == "__main__":
    main()
