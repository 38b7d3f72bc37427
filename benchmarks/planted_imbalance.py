"""What recipes do against an imbalance that was planted, over several seeds.

Run with `python -m benchmarks.planted_imbalance`. AV-Digits, its sounds clean, with three kinds of
images: some from which the digit is learned later than from the sounds (`planted_search` tells how
they were chosen), some from which it is learned sooner, and some in which hardly anything can be
seen. Each training runs its epochs to the end and is measured on the test split; the ratio is that
of the joint head's own linear split, whatever heads a recipe has trained beside it. The intervals
are 95 % intervals of the paired difference to joint training over the seeds (Student's t).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import click
import numpy as np
from scipy import stats

from benchmarks.planted_data import Images
from benchmarks.side_by_side import write
from examples.apply_recipe import COMPARED
from examples.apply_recipe import compared as compare

SEEDS = 5


@dataclass(frozen=True)
class Planted:
    """Images that put one modality ahead of the other.

    Attributes:
        leader: who is ahead.
        weaker: who is not.
        images: what they are like.
        epochs: of the training.
    """

    leader: str
    weaker: str
    images: Images
    epochs: int


PLANTED = {
    "audio ahead": Planted("audio", "visual", Images(field=16), 10),
    "visual ahead": Planted("visual", "audio", Images(noise=0.5), 5),
    "audio ahead, little to see": Planted("audio", "visual", Images(noise=1.5), 5),
}


def metrics(leader: str, weaker: str) -> dict[str, str]:
    """Return what the claim is about, and the metric that it is."""
    return {
        "accuracy": "accuracy",
        f"ratio of {leader}": f"ratio {leader}",
        f"linear probe of {weaker}": f"linear_probe {weaker}",
        f"linear probe of {leader}": f"linear_probe {leader}",
    }


def difference(ours: list[float], plain: list[float]) -> dict[str, float]:
    """Return the mean paired difference and its interval."""
    paired = np.subtract(ours, plain)
    low, high = stats.t.interval(0.95, len(paired) - 1, paired.mean(), stats.sem(paired))
    return {"mean": float(paired.mean()), "low": float(low), "high": float(high)}


def compared(planted: Planted, folder: str | None) -> dict[str, Any]:
    """Train with every recipe, print the table, and return its numbers."""
    train, test = planted.images.splits()
    found = compare(
        train, test, seeds=SEEDS, epochs=planted.epochs, flops=False, folder=folder, progress=False
    )
    values = found.dataset["value"]
    table: dict[str, dict[str, dict[str, object]]] = {}
    for name in COMPARED:
        table[name] = {}
        print(name)
        for key, metric in metrics(planted.leader, planted.weaker).items():
            own = values.sel(metric=metric)
            ours, plain = (own.sel(recipe=label).values.tolist() for label in (name, "joint"))
            if np.isnan(ours).any():  # of a joint head that was not trained
                continue
            table[name][key] = {"values": ours}
            line = f"  {key:<24}{np.mean(ours):7.3f}"
            if name != "joint":
                table[name][key]["difference"] = gap = difference(ours, plain)
                line += f"   {gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
            print(line, flush=True)
    return {"images": asdict(planted.images), "epochs": planted.epochs, "recipes": table}


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(file_okay=False), help="Keep finished runs here.")
def main(folder: str | None) -> None:
    """Train, print the tables, write the results."""
    results = {}
    for name, planted in PLANTED.items():
        print(f"\n{name}: {SEEDS} seeds, {planted.epochs} epochs; mean, difference to joint")
        own = None if folder is None else f"{folder}/{name.replace(' ', '_').replace(',', '')}"
        results[name] = compared(planted, own)
    write("planted_imbalance", {"seeds": SEEDS, **results})


if __name__ == "__main__":
    main()
