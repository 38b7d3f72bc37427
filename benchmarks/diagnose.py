"""What a diagnosis costs, in plain evaluation passes over the same data.

Run with `python -m benchmarks.diagnose`. Two and four ResNet-18 encoders, images of 96 x 96.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.side_by_side import device, measure, show, write
from imbalance_lens import Anatomy, diagnose
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.formulas import coalitions

CLASSES, SIDE = 10, 96
LIMITS = {"all coalitions": 1.10, "diagnose, three probes": 1.25, "diagnose, anatomy found": 1.25}
PROBES = ("abnormal_batchnorm", "logit_norm", "zero_out")


class LateFusion(nn.Module):
    """One ResNet-18 per view, concatenation, one linear head."""

    def __init__(self, views: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(resnet18(num_classes=64) for _ in range(views))
        self.head = nn.Linear(64 * views, CLASSES)

    def forward(self, *views: Tensor) -> Tensor:
        return self.head(torch.cat([net(x) for net, x in zip(self.nets, views, strict=True)], 1))


def variants(views: int, batch: int, batches: int) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    model = LateFusion(views).to(device()).eval()
    data = [
        (
            *(torch.randn(batch, 3, SIDE, SIDE, device=device()) for _ in range(views)),
            torch.randint(0, CLASSES, (batch,)),
        )
        for _ in range(batches)
    ]
    who = Anatomy({f"views_{i}": f"nets.{i}" for i in range(views)}, head="head")

    def plain() -> None:
        with torch.no_grad():
            for *inputs, _ in data:
                model(*inputs)

    def every_coalition() -> None:
        with Replayer(model, who) as replayer:
            for *inputs, _ in data:
                replay = replayer.capture(bind(model, tuple(inputs)))
                for present in coalitions(who.modalities):
                    replay.logits(present)

    return {
        "plain evaluation": plain,
        "all coalitions": every_coalition,
        "diagnose, three probes": lambda: diagnose(model, data, who, PROBES, progress=False),
        "diagnose, anatomy found": lambda: diagnose(model, data, None, PROBES, progress=False),
    }


def import_cost(repeats: int = 7) -> dict[str, float]:
    """Return what `import imbalance_lens` adds to `import torch`, in fresh interpreters."""
    script = (
        "import time; a = time.perf_counter(); import torch; b = time.perf_counter(); "
        "import imbalance_lens; c = time.perf_counter(); print(b - a, c - b)"
    )
    runs = [
        tuple(map(float, subprocess.check_output([sys.executable, "-c", script]).split()))
        for _ in range(repeats)
    ]
    both, extra = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"\nimport torch {both * 1e3:.0f} ms; import imbalance_lens adds {extra * 1e3:.1f} ms")
    return {"import torch": both, "import imbalance_lens adds": extra}


def main() -> None:
    results: dict[str, object] = {}
    for views, batch, batches in ((2, 8, 40), (4, 8, 40)):
        title = f"M={views}, B={batch}, {batches} batches of {SIDE} x {SIDE}"
        rows = measure(variants(views, batch, batches), repeats=5)
        show(title, rows, LIMITS)
        results[title] = rows
    results["import"] = import_cost()
    write("diagnose" if device().type == "cpu" else "diagnose_gpu", results)


if __name__ == "__main__":
    main()
