"""Architectures for examples, experiments and tests; the library itself needs none of them."""

from ._base import Fusion
from .additive import ConcatFusion, SumFusion
from .deep import AttentionFusion, MlpFusion
from .encoders import Mlp, ResNet18, SmallCnn, Transformer
from .gates import FilmFusion, GatedFusion, GatedUnitFusion
from .late import LateFusion
from .products import BilinearFusion, LowRankFusion

__all__ = [
    "AttentionFusion",
    "BilinearFusion",
    "ConcatFusion",
    "FilmFusion",
    "Fusion",
    "GatedFusion",
    "GatedUnitFusion",
    "LateFusion",
    "LowRankFusion",
    "Mlp",
    "MlpFusion",
    "ResNet18",
    "SmallCnn",
    "SumFusion",
    "Transformer",
]
