"""The library at work, from a training to a report; `imbalance-lens demo` runs this file.

A model learns digits from what is said (audio) and what is written (visual). The training knows
nothing of the library, and the diagnosis knows nothing of the training but the file it left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

import imbalance_lens as lens

from .datasets import AVDigits
from .figures import plot_overview, save
from .files import replacing
from .models import LateFusion
from .progress import bar
from .report.words import percent

EPOCHS = 12
PICTURE = "figure.svg"
VISUAL_NOISE = 0.5
"""On the images; the sounds are clean, and still it is the images that the model leans on."""


def run(out: Path, *, say: Callable[[str], object] = print) -> lens.Report:
    """Train a small model, diagnose its checkpoint, and save what was found.

    Args:
        out: folder for `checkpoint.pt`, `report.nc` and `figure.svg`; made if it is not there.
        say: takes what there is to read, piece by piece.

    Returns:
        The report. The same machine gives the same one every time.

    Raises:
        OSError: the folder or a file in it cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "checkpoint.pt") as draft:
        torch.save(trained("audio", "visual").state_dict(), draft)

    model = LateFusion.small(["audio", "visual"], classes=10)
    model.load_state_dict(lens.load_weights(out / "checkpoint.pt"))
    test = DataLoader(AVDigits("test", visual_noise=VISUAL_NOISE), batch_size=100)
    inputs, _ = next(iter(test))
    say(str(lens.explain(lens.find_anatomy(model, inputs), model)))

    report = lens.diagnose(model, test)
    report.save(out / "report.nc")
    say(f"\n{report}")

    inside = report.tree["zero_out"]["alone"].sel(modality="audio").item()
    without_visual = accuracy(trained("audio"), test)
    say(f"\nIs audio just harder? Inside the model it gets {percent(inside)} right on its own.")
    say(f"Trained without visual, the same encoder gets {percent(without_visual)}.")
    picture(report.compared_with({"audio": without_visual}), out / PICTURE)
    say(f"\nIn {out}: checkpoint.pt, the weights, report.nc, the report, and {PICTURE}.")
    return report


def picture(report: lens.Report, path: Path) -> None:
    """Draw what each modality does in the model, and what its encoder could do."""
    save(plot_overview(report.tree, panels=["zero_out", "linear_probe"]), path)


def trained(*modalities: str) -> LateFusion:
    """Return a model that was trained, the plain way, on some of the modalities."""
    with repeatable():
        model = LateFusion.small(modalities, classes=10)
        data = AVDigits("train", visual_noise=VISUAL_NOISE)
        loader = DataLoader(data, batch_size=64, shuffle=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
        for _ in bar(range(EPOCHS), desc=f"train {'+'.join(modalities)}", unit="epoch"):
            for inputs, labels in loader:
                loss = nn.functional.cross_entropy(model(**inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """Return the share of the examples that a model gets right."""
    model.eval()
    right = [model(**inputs).argmax(1) == labels for inputs, labels in loader]
    return torch.cat(right).float().mean().item()


@contextmanager
def repeatable() -> Iterator[None]:
    """Make the block give the same numbers every time, and leave no trace outside of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # how a sum is split over threads changes its last bits
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
