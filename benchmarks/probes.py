"""What single probes cost, in plain evaluation passes over the same data.

Run with `python -m benchmarks.probes`, or with the names of some probes behind it. Two ResNet-18
encoders, images of 96 x 96.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.late_fusion import SIDE, LateFusion, anatomy_of, data_of, evaluation, model_of
from benchmarks.side_by_side import Beside, device, measure_passes, show, write
from imbalance_lens import diagnose
from imbalance_lens.observer import ProbeChoice
from imbalance_lens.probes.dead_features import DeadFeatures
from imbalance_lens.probes.gradient_conflict import GradientConflict
from imbalance_lens.probes.integrated_gradients import IntegratedGradients
from imbalance_lens.probes.linear_probe import LinearProbe

VIEWS, EXAMPLES = 2, 1024
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


def variants(probes: list[str], model: LateFusion) -> dict[str, Callable[[Beside], object]]:
    def with_probe(make: Callable[[], ProbeChoice]) -> Callable[[Beside], object]:
        return lambda data: diagnose(model, data, anatomy_of(VIEWS), [make()], progress=False)

    runs: dict[str, Callable[[Beside], object]] = {
        "diagnose, no probe": lambda data: diagnose(
            model, data, anatomy_of(VIEWS), [], progress=False
        )
    }
    for probe in probes:
        runs |= {name: with_probe(make) for name, make in VARIANTS[probe].items()}
    return runs


def main() -> None:
    probes = sys.argv[1:] or list(VARIANTS)
    results, model = {}, model_of(VIEWS)
    for batch in BATCHES:
        title = f"M={VIEWS}, B={batch}, {EXAMPLES} examples of {SIDE} x {SIDE}"
        rows = measure_passes(
            data_of(VIEWS, batch, EXAMPLES // batch),
            evaluation(model),
            variants(probes, model),
            repeats=3,
        )
        show(title, rows, LIMITS)
        results[title] = rows
    name = "probes" if probes == list(VARIANTS) else "_".join(probes)
    write(name if device().type == "cpu" else f"{name}_gpu", results)


if __name__ == "__main__":
    main()
