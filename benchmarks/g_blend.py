"""What a training with G-Blend costs in all, estimates included, in trainings without recipe.

Run with `python -m benchmarks.g_blend`. Two ResNet-18 on images of 32 x 32. Floating-point
operations are counted, which are the same on every machine; seconds are told beside them.
"""

from __future__ import annotations

import copy
import time

import torch
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import recipes
from benchmarks.diagnose import CLASSES, LateFusion
from benchmarks.side_by_side import device, wait, write

SIDE, EXAMPLES, BATCH, EPOCHS = 32, 80, 8, 4
ENCODERS = {"first": "nets.0", "second": "nets.1"}
HALVES = {"online": True, "first_super_epoch": 2, "super_epoch": 2}
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "none": ("none", {}),
    "offline": ("g_blend", {}),
    "offline, a quarter of the data": ("g_blend", {"fraction": 0.25}),
    "online, two super-epochs": ("g_blend", HALVES),
    "offline, correlated": ("g_blend", {"solution": "correlated"}),
}
LIMITS = {"offline": 3.2, "offline, a quarter of the data": 1.6}


def cost(name: str, settings: dict[str, object]) -> tuple[int, float]:
    torch.manual_seed(0)
    images = (torch.randn(EXAMPLES, 3, SIDE, SIDE) for _ in ENCODERS)
    data = TensorDataset(*images, torch.randint(0, CLASSES, (EXAMPLES,)))
    model = LateFusion(2).to(device())
    start = time.perf_counter()
    with FlopCounterMode(display=False) as counter:
        recipes.apply(
            name,
            copy.deepcopy(model),
            DataLoader(data, BATCH, shuffle=True),
            epochs=EPOCHS,
            anatomy=ENCODERS,
            device=device(),
            precision="fp32",
            seed=0,
            progress=False,
            **settings,
        )
        wait()
    return counter.get_total_flops(), time.perf_counter() - start


def main() -> None:
    costs = {label: cost(*chosen) for label, chosen in VARIANTS.items()}
    operations, seconds = costs["none"]
    results: dict[str, object] = {"examples": EXAMPLES, "batch": BATCH, "epochs": EPOCHS}
    for label, (made, took) in costs.items():
        ratios = {"operations": made / operations, "seconds": took / seconds}
        results[label] = ratios
        limit = f" (at most {LIMITS[label]})" if label in LIMITS else ""
        print(
            f"{label:<32} {ratios['operations']:6.2f} operations{limit}, "
            f"{ratios['seconds']:.2f} seconds"
        )
    write("g_blend" if device().type == "cpu" else "g_blend_gpu", results)


if __name__ == "__main__":
    main()
