"""Architectures for examples, experiments and tests; the library itself needs none of them."""

from ._base import Fusion
from .additive import ConcatFusion, SumFusion
from .bottleneck import BottleneckTransformer
from .deep import AttentionFusion, MlpFusion
from .encoders import Mlp, ResNet18, SmallCnn, Transformer
from .gates import FilmFusion, GatedFusion, GatedUnitFusion
from .irfb import Irfb, IrfbTransformer
from .late import LateFusion
from .mmtm import Mmtm, MmtmNet
from .products import BilinearFusion, LowRankFusion

__all__ = [
    "AttentionFusion",
    "BilinearFusion",
    "BottleneckTransformer",
    "ConcatFusion",
    "FilmFusion",
    "Fusion",
    "GatedFusion",
    "GatedUnitFusion",
    "Irfb",
    "IrfbTransformer",
    "LateFusion",
    "LowRankFusion",
    "Mlp",
    "MlpFusion",
    "Mmtm",
    "MmtmNet",
    "ResNet18",
    "SmallCnn",
    "SumFusion",
    "Transformer",
]
