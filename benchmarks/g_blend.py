"""What a training with G-Blend costs in all, estimates included, in trainings without recipe.

Run with `python -m benchmarks.g_blend`. Two ResNet-18 on images of 32 x 32. Floating-point
operations are counted, which are the same on every machine.
"""

from __future__ import annotations

import copy

import torch
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import recipes
from benchmarks.diagnose import CLASSES, LateFusion
from benchmarks.side_by_side import device, write

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


def cost(name: str, settings: dict[str, object]) -> int:
    torch.manual_seed(0)
    images = (torch.randn(EXAMPLES, 3, SIDE, SIDE) for _ in ENCODERS)
    data = TensorDataset(*images, torch.randint(0, CLASSES, (EXAMPLES,)))
    model = LateFusion(2).to(device())
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
    return counter.get_total_flops()


def main() -> None:
    costs = {label: cost(*chosen) for label, chosen in VARIANTS.items()}
    results: dict[str, object] = {"examples": EXAMPLES, "batch": BATCH, "epochs": EPOCHS}
    for label, operations in costs.items():
        results[label] = ratio = operations / costs["none"]
        limit = f" (at most {LIMITS[label]})" if label in LIMITS else ""
        print(f"{label:<32} {ratio:6.2f}{limit}")
    write("g_blend", results)


if __name__ == "__main__":
    main()
