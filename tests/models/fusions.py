"""Every fusion, small, with the numbers of modalities that its formula allows."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.anatomy.readout import Readout, choose_readout
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.models import (
    AttentionFusion,
    BilinearFusion,
    ConcatFusion,
    FilmFusion,
    Fusion,
    GatedFusion,
    GatedUnitFusion,
    LateFusion,
    LowRankFusion,
    Mlp,
    MlpFusion,
    SumFusion,
)

CLASSES = 5
SIZES = {"audio": 6, "visual": 8, "text": 4}
Make = Callable[[Mapping[str, int]], Fusion]
PAIRS: dict[str, Make] = {
    "film": lambda sizes: FilmFusion(sizes, CLASSES),
    "gated": lambda sizes: GatedFusion(sizes, CLASSES, width=7),
    "bilinear": lambda sizes: BilinearFusion(sizes, CLASSES),
}
ANY_NUMBER: dict[str, Make] = {
    "concat": lambda sizes: ConcatFusion(sizes, CLASSES),
    "sum": lambda sizes: SumFusion(sizes, CLASSES),
    "gated_unit": lambda sizes: GatedUnitFusion(sizes, CLASSES, width=7),
    "mlp": lambda sizes: MlpFusion(sizes, CLASSES, width=7),
    "attention": lambda sizes: AttentionFusion(sizes, CLASSES, width=8),
    "low_rank": lambda sizes: LowRankFusion(sizes, CLASSES, rank=3),
}
ALL = {**PAIRS, **ANY_NUMBER}
CASES = [(name, 2) for name in ALL] + [(name, count) for name in ANY_NUMBER for count in (3, 4)]


def sizes_of(count: int) -> dict[str, int]:
    return dict(list({**SIZES, "depth": 3}.items())[:count])


def draw(sizes: Mapping[str, int], batch: int = 6) -> dict[str, Tensor]:
    return {name: torch.randn(batch, size, requires_grad=True) for name, size in sizes.items()}


def late(make: Make, count: int = 2) -> tuple[LateFusion, dict[str, Tensor]]:
    """A small model with a fusion, and inputs for it."""
    sizes = sizes_of(count)
    model = LateFusion({m: Mlp(9, width=size) for m, size in sizes.items()}, make(sizes)).eval()
    return model, {m: torch.randn(8, 9) for m in sizes}


def readout_of(model: nn.Module, inputs: dict[str, Tensor]) -> Readout:
    """How the library reads each modality alone, without a hint."""
    with Replayer(model, lens.find_anatomy(model, inputs)) as replayer:
        return choose_readout(replayer.capture(bind(model, inputs)))
