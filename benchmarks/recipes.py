"""What training with a recipe costs, in steps of a plain PyTorch loop over the same data.

Run with `python -m benchmarks.recipes`. Two ResNet-18 on images of 64 x 64, SGD with momentum; a
batch of 16 on a CPU, of 256 on a GPU. Every variant trains a copy of the same model. What counts
is the time of the training steps; the first look at the model, one evaluation pass of one batch
and M + 1 of its head, comes once per training and is told apart. The few steps of `olm` measure its
losses once, on as many examples per step as its settings make of them in a long training.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import recipes
from benchmarks.diagnose import CLASSES, LateFusion
from benchmarks.side_by_side import device, measure, show, wait, write

SIDE = 64
BATCH = 16 if device().type == "cpu" else 256
STEPS = 10 if device().type == "cpu" else 40
ENCODERS = {"first": "nets.0", "second": "nets.1"}
VARIANTS: dict[str, tuple[str | list[str], dict[str, object]]] = {
    "bundled loop, none": ("none", {}),
    "ogm_ge without noise": ("ogm_ge", {"noise": False}),
    "opm": ("opm", {}),
    "opm and ogm_ge without noise": (["opm", "ogm_ge"], {"noise": False}),
    "multi_loss": ("multi_loss", {}),
    "mlb": ("mlb", {}),
    "ogm_ge with noise": ("ogm_ge", {"noise": True}),
    "abri": ("abri", {}),
    "olm": ("olm", {}),
}
LIMITS = {
    "bundled loop, none": 1.02,
    "ogm_ge without noise": 1.03,
    "opm": 1.03,
    "mlb": 1.03,
    "abri": 1.10,
    "olm": 1.10,
}
if device().type == "cuda":  # on a CPU drawing the noise is most of the cost
    LIMITS["ogm_ge with noise"] = 1.10


Batches = list[tuple[Tensor, Tensor, Tensor]]


def data() -> Batches:
    torch.manual_seed(0)
    return [
        (
            torch.randn(BATCH, 3, SIDE, SIDE, device=device()),
            torch.randn(BATCH, 3, SIDE, SIDE, device=device()),
            torch.randint(0, CLASSES, (BATCH,)),
        )
        for _ in range(STEPS)
    ]


def measured_on(batches: Batches) -> Batches:
    """Return what `olm` measures its losses on, as much per step as by default."""
    default = recipes.get("olm")()
    examples = math.ceil(default.eval_batches * BATCH * STEPS / default.every)
    taken = []
    for inputs, others, labels in batches:
        count = min(examples, BATCH)
        taken += [(inputs[:count], others[:count], labels[:count])] if count else []
        examples -= count
    return taken


def plain(model: nn.Module, batches: Batches, dtype: str) -> float:
    wait()
    start = time.perf_counter()
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    for *inputs, labels in batches:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device().type, torch.bfloat16, enabled=dtype == "bf16"):
            loss = nn.functional.cross_entropy(model(*inputs), labels.to(device()))
        loss.backward()
        optimizer.step()
    wait()
    return time.perf_counter() - start


def variants(dtype: str) -> dict[str, Callable[[], object]]:
    batches = data()
    few = measured_on(batches)
    olm = {"train": few, "val": few, "eval_batches": len(few)}
    model = LateFusion(2).to(device())

    def with_recipe(names: str | list[str], settings: dict[str, object]) -> float:
        fitted = recipes.apply(
            names,
            copy.deepcopy(model),
            batches,
            epochs=1,
            anatomy=ENCODERS,
            device=device(),
            precision=dtype,
            progress=False,
            **settings,
        )
        return float(fitted.history["seconds"].sum())

    made: dict[str, Callable[[], object]] = {
        "plain PyTorch loop": lambda: plain(copy.deepcopy(model), batches, dtype)
    }
    for name, (names, fixed) in VARIANTS.items():
        settings = fixed | (olm if names == "olm" else {})
        made[name] = lambda names=names, settings=settings: with_recipe(names, settings)
    return made


def main() -> None:
    results: dict[str, object] = {"batch": BATCH, "steps": STEPS}
    for dtype in ("fp32",) if device().type == "cpu" else ("fp32", "bf16"):
        title = f"{STEPS} steps, two ResNet-18, B={BATCH}, {SIDE} x {SIDE}, {dtype}"
        rows = measure(variants(dtype), repeats=5, own_clock=True)
        show(title, rows, LIMITS)
        results[title] = rows
        for row in rows.values():
            row["examples_per_second"] = BATCH * STEPS / row["seconds"]
    start = time.perf_counter()
    recipes.attach("ogm_ge", LateFusion(2).to(device()), data()[0][:2], anatomy=ENCODERS).__exit__()
    results["first_look_seconds"] = time.perf_counter() - start
    print(f"first look: {results['first_look_seconds']:.3f} s")
    if device().type == "cuda":
        results["peak_bytes"] = torch.cuda.max_memory_allocated()
    write("recipes" if device().type == "cpu" else "recipes_gpu", results)


if __name__ == "__main__":
    main()
