"""What a diagnosis costs, in plain evaluation passes over the same data.

Run with `python -m benchmarks.diagnose`. Two and four ResNet-18 encoders, images of 96 x 96.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks.late_fusion import SIDE, LateFusion, anatomy_of, data_of, evaluation, model_of
from benchmarks.side_by_side import Beside, device, measure_passes, show, write
from imbalance_lens import diagnose
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.formulas import coalitions

LIMITS = {"all coalitions": 1.10, "diagnose, three probes": 1.25, "diagnose, anatomy found": 1.25}
PROBES = ("abnormal_batchnorm", "logit_norm", "zero_out")


def variants(views: int, model: LateFusion) -> dict[str, Callable[[Beside], object]]:
    who = anatomy_of(views)

    def every_coalition(data: Beside) -> None:
        with Replayer(model, who) as replayer:
            for *inputs, _ in data:
                replay = replayer.capture(bind(model, tuple(inputs)))
                for present in coalitions(who.modalities):
                    replay.logits(present)

    return {
        "all coalitions": every_coalition,
        "diagnose, three probes": lambda data: diagnose(model, data, who, PROBES, progress=False),
        "diagnose, anatomy found": lambda data: diagnose(model, data, None, PROBES, progress=False),
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
        model = model_of(views)
        rows = measure_passes(
            data_of(views, batch, batches), evaluation(model), variants(views, model), repeats=5
        )
        show(title, rows, LIMITS)
        results[title] = rows
    results["import"] = import_cost()
    write("diagnose" if device().type == "cpu" else "diagnose_gpu", results)


if __name__ == "__main__":
    main()
