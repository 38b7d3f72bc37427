"""What belongs to an encoder, and what to the fusion."""

import pytest
import torch

from imbalance_lens import find_anatomy
from imbalance_lens.models import (
    FilmFusion,
    GatedFusion,
    GatedUnitFusion,
    LateFusion,
    LowRankFusion,
    Mlp,
    SumFusion,
)


@pytest.mark.parametrize(
    "fusion", [FilmFusion, GatedFusion, GatedUnitFusion, LowRankFusion, SumFusion]
)
def test_a_gate_or_factor_of_one_modality_is_the_fusions(fusion):
    encoders = {"audio": Mlp(5), "visual": Mlp(3)}
    sizes = {name: encoder.out_features for name, encoder in encoders.items()}
    model = LateFusion(encoders, fusion(sizes, 4))

    found = find_anatomy(model, {"audio": torch.randn(4, 5), "visual": torch.randn(4, 3)})

    assert found.parts == {"audio": ("encoders.audio",), "visual": ("encoders.visual",)}
