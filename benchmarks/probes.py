"""What single probes cost, in plain evaluation passes over the same data.

Run with `python -m benchmarks.probes`, or with the names of some probes behind it. Two ResNet-18
encoders, images of 96 x 96.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from benchmarks.diagnose import CLASSES, SIDE, LateFusion
from benchmarks.side_by_side import device, measure, show, write
from imbalance_lens import Anatomy, diagnose
from imbalance_lens.observer import ProbeChoice
from imbalance_lens.probes.dead_features import DeadFeatures
from imbalance_lens.probes.gradient_conflict import GradientConflict
from imbalance_lens.probes.integrated_gradients import IntegratedGradients
from imbalance_lens.probes.linear_probe import LinearProbe

VIEWS, EXAMPLES = 2, 320
BATCHES = (8, 64)
VARIANTS: dict[str, dict[str, Callable[[], ProbeChoice]]] = {
    "dead_features": {
        "dead_features": DeadFeatures,
        "dead_features, batch statistics": lambda: DeadFeatures(bn_stats="batch"),
    },
    "linear_probe": {"linear_probe": LinearProbe},
    "gradient_conflict": {
        "gradient_conflict": GradientConflict,
        "gradient_conflict, every batch": lambda: GradientConflict(batches=EXAMPLES),
    },
    "integrated_gradients": {"integrated_gradients": IntegratedGradients},
}
"""Probe -> variant -> how it is made."""
LIMITS = {"dead_features": 1.10}


def variants(probes: list[str], batch: int) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    model = LateFusion(VIEWS).to(device()).eval()
    data = [
        (
            *(torch.randn(batch, 3, SIDE, SIDE, device=device()) for _ in range(VIEWS)),
            torch.randint(0, CLASSES, (batch,)),
        )
        for _ in range(EXAMPLES // batch)
    ]
    who = Anatomy({f"views_{i}": f"nets.{i}" for i in range(VIEWS)}, head="head")

    def plain() -> None:
        with torch.no_grad():
            for *inputs, _ in data:
                model(*inputs)

    def with_probe(make: Callable[[], ProbeChoice]) -> Callable[[], object]:
        return lambda: diagnose(model, data, who, [make()], progress=False)

    runs: dict[str, Callable[[], object]] = {
        "plain evaluation": plain,
        "diagnose, no probe": lambda: diagnose(model, data, who, [], progress=False),
    }
    for probe in probes:
        runs |= {name: with_probe(make) for name, make in VARIANTS[probe].items()}
    return runs


def main() -> None:
    probes = sys.argv[1:] or list(VARIANTS)
    results = {}
    for batch in BATCHES:
        title = f"M={VIEWS}, B={batch}, {EXAMPLES} examples of {SIDE} x {SIDE}"
        rows = measure(variants(probes, batch), repeats=5 if len(probes) == 1 else 3)
        show(title, rows, LIMITS)
        results[title] = rows
    name = "probes" if probes == list(VARIANTS) else "_".join(probes)
    write(name if device().type == "cpu" else f"{name}_gpu", results)


if __name__ == "__main__":
    main()
