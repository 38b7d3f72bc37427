"""What the two stages of FusT cost, in floating-point operations of joint training.

Run with `python -m benchmarks.fust`. Two ResNet-18 on images of 32 x 32, with the numbers of epochs
that the paper has for its data sets, and counted as in its Table 8: epochs times the operations of
a pass, in which the pass that measures confidences is left out. That pass, and all else, is in the
operations that are counted while trainings run. Both are the same on every machine.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import recipes
from benchmarks.diagnose import CLASSES, LateFusion
from benchmarks.side_by_side import device, write
from imbalance_lens import Anatomy
from recipes.fust import count_flops, flops_ratio

SIDE, EXAMPLES, BATCH = 32, 16, 8
WHO = Anatomy(
    {"audio": "nets.0", "visual": "nets.1"},
    inputs={"audio": ("views_0",), "visual": ("views_1",)},
)
REDUCED = 10
"""The trainings that run have a tenth of the epochs, in the same proportions."""


class Epochs(NamedTuple):
    """Epochs of the paper's trainings, and the ratio that its Table 8 has for them."""

    unimodal: dict[str, int]
    fusion: int
    joint: int
    paper: float


DATA_SETS = {
    "Kinetics-Sounds": Epochs({"audio": 40, "visual": 80}, 20, 60, 1.36),
    "AVE": Epochs({"audio": 40, "visual": 50}, 30, 50, 1.56),
    "UCF-101": Epochs({"audio": 20, "visual": 80}, 20, 50, 1.40),
}


def counted(name: str, model: torch.nn.Module, data: DataLoader, epochs: int, **settings) -> int:
    """Return the operations of a whole training."""
    with FlopCounterMode(display=False) as counter:
        recipes.apply(
            name,
            copy.deepcopy(model),
            data,
            epochs=epochs,
            anatomy=WHO,
            device=device(),
            precision="fp32",
            seed=0,
            progress=False,
            **settings,
        )
    return counter.get_total_flops()


def main() -> None:
    torch.manual_seed(0)
    images = [torch.randn(EXAMPLES, 3, SIDE, SIDE) for _ in WHO.modalities]
    labels = torch.arange(EXAMPLES) % CLASSES
    data = DataLoader(TensorDataset(*images, labels), BATCH)
    model = LateFusion(2).to(device())
    joint, encoders = count_flops(model, images, anatomy=WHO)
    results = {}
    print(f"{'':20}{'paper':>8}{'Table 8':>9}{'measured':>10}{'counted':>9}")
    for name, (unimodal, fusion, epochs, paper) in DATA_SETS.items():
        spent = {"unimodal_epochs": unimodal, "fusion_epochs": fusion, "joint_epochs": epochs}
        like_table = flops_ratio(joint, encoders, **spent)
        with_measuring = flops_ratio(joint, encoders, **spent, measured=True)
        stage = {modality: count // REDUCED for modality, count in unimodal.items()}
        both = max(stage.values()) + fusion // REDUCED
        # On noise nobody is sure of anything; whether patches are hidden costs no operations.
        ours = counted("fust", model, data, both, unimodal_epochs=stage, threshold=0)
        ratio = ours / counted("none", model, data, epochs // REDUCED)
        results[name] = {
            "paper": paper,
            "like_table_8": like_table,
            "with_measuring": with_measuring,
            "counted": ratio,
        }
        print(f"{name:20}{paper:8.2f}{like_table:9.2f}{with_measuring:10.2f}{ratio:9.2f}")
    write("fust", results)


if __name__ == "__main__":
    main()
