"""What recipes do against an imbalance that was planted, over several seeds.

Run with `python -m benchmarks.planted_imbalance`. AV-Digits, once with images that are learned
faster than the sounds, once with images so noisy that the sounds are ahead. Each training runs its
epochs to the end and is measured on the test split. The intervals are 95 % intervals of the paired
difference to joint training over the seeds (Student's t).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from benchmarks.side_by_side import write
from examples.apply_recipe import COMPARED
from examples.apply_recipe import compared as compare
from imbalance_lens.datasets import AVDigits

SEEDS, EPOCHS = 5, 5
PLANTED = {("visual", "audio"): 0.5, ("audio", "visual"): 1.5}
"""Who is ahead of whom: by which noise on the images."""


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


def compared(leader: str, weaker: str, noise: float) -> dict[str, Any]:
    """Train with every recipe, print the table, and return its numbers."""
    train, test = (AVDigits(part, visual_noise=noise) for part in ("train", "test"))
    values = compare(train, test, seeds=SEEDS, epochs=EPOCHS, flops=False).dataset["value"]
    print(f"\n{leader} ahead: {SEEDS} seeds, {EPOCHS} epochs; mean, difference to joint")
    table: dict[str, dict[str, dict[str, object]]] = {}
    for name in COMPARED:
        table[name] = {}
        print(name)
        for key, metric in metrics(leader, weaker).items():
            own = values.sel(metric=metric)
            ours, plain = (own.sel(recipe=label).values.tolist() for label in (name, "joint"))
            if np.isnan(ours).any():  # of a joint head that was not trained
                continue
            table[name][key] = {"values": ours}
            line = f"  {key:<24}{np.mean(ours):7.3f}"
            if name != "joint":
                table[name][key]["difference"] = gap = difference(ours, plain)
                line += f"   {gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
            print(line)
    return table


def main() -> None:
    results = {
        f"{leader} ahead": compared(leader, weaker, noise)
        for (leader, weaker), noise in PLANTED.items()
    }
    write("planted_imbalance", {"seeds": SEEDS, "epochs": EPOCHS, **results})


if __name__ == "__main__":
    main()
