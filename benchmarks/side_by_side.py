"""Measure variants side by side with a unit, in turns, and give medians of the ratios."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Generic, TypeVar

import torch

RESULTS = Path(__file__).parent / "results"
UNIT = "plain evaluation"
Batch = TypeVar("Batch")


def measure(
    variants: Mapping[str, Callable[[], object]], *, repeats: int = 7, own_clock: bool = False
) -> dict[str, dict[str, float]]:
    """Run the unit, a variant, the unit, another variant, and so on, and compare neighbors.

    A machine with other work speeds up and slows down within seconds, so that each run of a
    variant is compared with the mean of the unit's runs right before and right after it.

    Args:
        variants: name -> what to run; the first is the unit. Each runs once before, unmeasured.
        repeats: repetitions; every other one runs the variants in reverse.
        own_clock: whether variants return the seconds that count, to leave out a set-up.

    Returns:
        name -> median seconds, median ratio to the unit, and the ratio's quartiles; of the unit,
        the quartiles of a run to the one before it, which nothing but the machine makes differ.
    """
    for run in variants.values():
        run()
    unit, *others = variants
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    ratios: dict[str, list[float]] = {name: [] for name in variants}
    seconds[unit].append(_seconds(variants[unit], own_clock))
    for repetition in range(repeats):
        for name in others if repetition % 2 == 0 else reversed(others):
            before, mine = seconds[unit][-1], _seconds(variants[name], own_clock)
            after = _seconds(variants[unit], own_clock)
            seconds[name].append(mine)
            seconds[unit].append(after)
            ratios[name].append(2 * mine / (before + after))
            ratios[unit].append(after / before)
    return {name: _summary(seconds[name], ratios[name]) for name in variants}


def measure_passes(
    batches: Sequence[Batch],
    unit: Callable[[Batch], object],
    variants: Mapping[str, Callable[[Beside], object]],
    *,
    repeats: int = 7,
) -> dict[str, dict[str, float]]:
    """Let variants go through batches, of which each is first given to the unit.

    So both are measured within the same tenths of a second, however a machine with other work
    speeds up and slows down, and what a variant does once counts too.

    Args:
        batches: what to go through.
        unit: what a batch costs at least.
        variants: name -> what goes once through batches.
        repeats: repetitions; every other one runs the variants in reverse.

    Returns:
        As `measure`: first the unit's own, which nothing but the machine makes differ from 1.
    """
    runs = {UNIT: lambda beside: [unit(batch) for batch in beside], **variants}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    ratios: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(Beside(batches[:2], unit))
    for repetition in range(repeats):
        for name in runs if repetition % 2 == 0 else reversed(runs):
            beside = Beside(batches, unit)
            mine = _seconds(lambda run=runs[name], given=beside: run(given), False) - beside.seconds
            seconds[name].append(mine)
            ratios[name].append(mine / beside.seconds)
    return {name: _summary(seconds[name], ratios[name]) for name in runs}


class Beside(Generic[Batch]):
    """Batches, before each of which the unit runs on it.

    Attributes:
        seconds: what the unit has taken so far.
    """

    def __init__(self, batches: Sequence[Batch], unit: Callable[[Batch], object]) -> None:
        self._batches = batches
        self._unit = unit
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self.seconds += _seconds(lambda given=batch: self._unit(given), False)
            yield batch


def _summary(seconds: list[float], ratios: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "seconds": statistics.median(seconds),
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
    }


def show(title: str, rows: Mapping[str, Mapping[str, float]], limits: Mapping[str, float]) -> None:
    """Print a table; a ratio above its limit is marked."""
    print(f"\n{title}")
    print(f"{'':44}{'seconds':>9}{'ratio':>8}  {'quartiles':<15}{'limit':>6}")
    for name, row in rows.items():
        spread = f"{row['ratio_low']:.3f} to {row['ratio_high']:.3f}"
        limit = f"{limits[name]:.2f}" if name in limits else ""
        over = "  OVER" if name in limits and row["ratio"] > limits[name] else ""
        print(f"{name:44}{row['seconds']:9.3f}{row['ratio']:8.3f}  {spread:<15}{limit:>6}{over}")


def write(name: str, results: object) -> Path:
    """Write results with versions and processor to `benchmarks/results/<name>.json`."""
    packages = ("torch", "torchvision", "captum", "numpy", "scipy", "xarray")
    path = RESULTS / f"{name}.json"
    RESULTS.mkdir(exist_ok=True)
    made = {
        "results": results,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "processor": _processor(),
        "threads": torch.get_num_threads(),
    }
    path.write_text(json.dumps(made, indent=1) + "\n")
    print(f"\nWritten to {path.relative_to(RESULTS.parent.parent)}")
    return path


def device() -> torch.device:
    """Return the accelerator where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _seconds(run: Callable[[], object], own_clock: bool) -> float:
    wait()
    start = time.perf_counter()
    told = run()
    wait()
    return float(told) if own_clock else time.perf_counter() - start  # pyright: ignore


def wait() -> None:
    """Wait until the accelerator has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} x {len(names) or 1}"
