"""What a long run takes: 200,000 examples of tiny encoders, all probes that only run forward.

Run with `python -m benchmarks.long_run`. Each size runs in a fresh interpreter, since the peak of
a process never falls. No batch is kept, so what grows is what the probes keep per example.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.side_by_side import write
from imbalance_lens import Anatomy, diagnose
from imbalance_lens.observation import Need
from imbalance_lens.observer import chosen_probes

SIZES = (50_000, 100_000, 200_000)
BATCH, WIDTH, CLASSES = 250, 8, 4
WHO = Anatomy({"audio": "audio", "visual": "visual"}, head="head")


class Tiny(nn.Module):
    """One linear layer, BatchNorm and ReLU per modality, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.visual = (
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
            for _ in range(2)
        )
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1))


class Stream:
    """Makes batches that nobody keeps, with a last one that is smaller, and counts examples."""

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self.given = 0

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        draw = torch.Generator().manual_seed(0)
        for start in range(0, self._examples, BATCH):
            count = min(BATCH, self._examples - start)
            labels = torch.arange(start, start + count) % CLASSES
            shown = nn.functional.one_hot(labels, WIDTH).float()
            self.given += count
            yield (*(shown + torch.randn(count, WIDTH, generator=draw) for _ in range(2)), labels)


def forward_only() -> list[str]:
    """Return the names of the default probes that ask for no gradients."""
    return [
        name for name, probe in chosen_probes(None).items() if Need.GRADIENTS not in probe.needs
    ]


def run(examples: int) -> dict[str, Any]:
    """Diagnose so many examples; return peak, kept bytes per example, and who counted how many."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Tiny()
    probes = chosen_probes(forward_only())
    diagnose(model, Stream(2 * BATCH), WHO, forward_only(), progress=False)
    before, start, stream = _peak(), time.perf_counter(), Stream(examples)
    report = diagnose(model, stream, WHO, list(probes.values()), progress=False)
    return {
        "examples": examples,
        "seconds": time.perf_counter() - start,
        "peak_bytes": _peak(),
        "peak_bytes_before": before,
        "bytes_per_example": {
            name: kept / examples for name, probe in probes.items() if (kept := kept_bytes(probe))
        },
        "given": stream.given,
        "counted": int(report.tree["logit_norm"].to_dataset()["count"].sum()),
    }


def kept_bytes(probe: Any) -> int:
    """Return the size of the table of rows that a probe keeps, 0 for one that keeps sums."""
    rows = vars(probe).get("_rows")
    return sum(column.nbytes for column in rows.on_host().values()) if rows is not None else 0


def main() -> None:
    found = []
    for examples in SIZES:
        command = [sys.executable, "-m", "benchmarks.long_run", str(examples)]
        found.append(json.loads(subprocess.check_output(command).splitlines()[-1]))
        row = found[-1]
        own = sum(row["bytes_per_example"].values())
        print(
            f"{examples:9,} examples: peak {row['peak_bytes'] / 2**20:7.1f} MiB, of which "
            f"{(row['peak_bytes'] - row['peak_bytes_before']) / 2**20:6.1f} MiB in the run; "
            f"{own:.0f} bytes kept per example; {row['counted']:,} counted; {row['seconds']:.1f} s"
        )
    for name, size in found[-1]["bytes_per_example"].items():
        print(f"{name:24}{size:6.1f} bytes per example")
    lost = [row["examples"] for row in found if row["counted"] != row["examples"]]
    if lost:
        raise SystemExit(f"Examples were lost in the runs of {lost}.")
    write("long_run", found)


def _peak() -> int:
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(int(sys.argv[1]))))
    else:
        main()
