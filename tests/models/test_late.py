"""Late fusion: every encoder with every fusion, found and read by the library."""

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import SettingError
from imbalance_lens.models import (
    BilinearFusion,
    ConcatFusion,
    FilmFusion,
    GatedFusion,
    LateFusion,
    LowRankFusion,
    Mlp,
    ResNet18,
    SmallCnn,
    Transformer,
)
from tests.models.fusions import ALL, ANY_NUMBER, CASES, CLASSES, late, readout_of

HEADS = {
    "concat": "fusion",
    "mlp": "fusion",
    "bilinear": "fusion",
    "sum": None,
    "low_rank": None,
    "film": "fusion.head",
    "gated": "fusion.head",
    "gated_unit": "fusion.head",
    "attention": "fusion.head",
}
"""Where the logits come from; None where they are added up after the last module."""

MIXED = {
    "audio": (lambda: SmallCnn(width=2), (1, 16, 16)),
    "visual": (ResNet18, (3, 2, 32, 32)),
    "text": (lambda: Transformer(6, width=8), (5, 6)),
    "table": (lambda: Mlp(7, width=8), (7,)),
}


def model_of(name: str, *modalities: str) -> tuple[LateFusion, dict[str, Tensor]]:
    encoders = {modality: MIXED[modality][0]() for modality in modalities}
    sizes = {modality: encoder.out_features for modality, encoder in encoders.items()}
    inputs = {modality: torch.randn(6, *MIXED[modality][1]) for modality in modalities}
    return LateFusion(encoders, ALL[name](sizes)).eval(), inputs


@pytest.mark.parametrize(
    ("name", "modalities"),
    [(name, pair) for name in ALL for pair in (("audio", "visual"), ("text", "table"))]
    + [(name, tuple(MIXED)) for name in ANY_NUMBER],
)
def test_encoders_and_head_are_found_without_a_hint(name: str, modalities: tuple[str, ...]):
    model, inputs = model_of(name, *modalities)
    found = lens.find_anatomy(model, inputs)
    assert found.encoders == {m: f"encoders.{m}" for m in modalities}
    assert found.sites == {m: (f"encoders.{m}",) for m in modalities}
    assert found.head == HEADS[name]
    assert not found.entangled
    assert not found.shared


@pytest.mark.parametrize("name", ALL)
def test_every_encoder_learns(name: str):
    model, inputs = model_of(name, "audio", "text")
    model(**inputs).square().sum().backward()
    for encoder in model.encoders.values():
        assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


@pytest.mark.parametrize(("name", "count"), CASES)
def test_only_concatenation_and_sum_can_be_split(name: str, count: int):
    kind = "linear_split" if name in ("concat", "sum") else "zero_out"
    assert readout_of(*late(ALL[name], count)).kind == kind


def test_no_modality_of_a_bilinear_fusion_can_be_read_alone():
    readout = readout_of(*late(ALL["bilinear"]))
    assert readout.identifiable == {"audio": False, "visual": False}


@pytest.mark.parametrize("count", [2, 3])
def test_a_low_rank_fusion_is_read_through_the_ones_beside_the_features(count: int):
    model, inputs = late(ALL["low_rank"], count)
    assert all(readout_of(model, inputs).identifiable.values())
    assert isinstance(model.fusion, LowRankFusion)
    for factor in model.fusion.factors.values():
        nn.init.zeros_(factor.bias)  # pyright: ignore
    assert not any(readout_of(model, inputs).identifiable.values())


def test_the_gating_modality_is_read_through_the_bias_of_what_it_gates():
    model, inputs = late(ALL["gated"])
    assert readout_of(model, inputs).identifiable == {"audio": True, "visual": True}
    assert isinstance(model.fusion, GatedFusion)
    nn.init.zeros_(model.fusion.value.bias)
    assert readout_of(model, inputs).identifiable == {"audio": False, "visual": True}


def test_what_film_modulates_is_read_through_the_bias_of_the_scales():
    model, inputs = late(ALL["film"])
    assert readout_of(model, inputs).identifiable == {"audio": True, "visual": True}
    assert isinstance(model.fusion, FilmFusion)
    nn.init.zeros_(model.fusion.film.bias)
    assert readout_of(model, inputs).identifiable == {"audio": True, "visual": False}


def test_the_small_model_starts_from_the_same_numbers_as_ever():
    def layer(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]

    torch.manual_seed(0)
    plain = nn.ModuleList()
    for _ in range(2):
        plain.extend([*layer(1, 16), *layer(16, 32), *layer(32, 32)])
    plain.append(nn.Linear(2 * 32 * 2 * 2, 10))
    torch.manual_seed(0)
    model = LateFusion.small(["audio", "visual"], classes=10)
    pairs = zip(plain.state_dict().values(), model.state_dict().values(), strict=True)
    assert all(torch.equal(expected, found) for expected, found in pairs)


def test_one_modality_makes_a_unimodal_model_that_looks_at_no_other_input():
    model = LateFusion.small(["audio"], classes=3, width=2).eval()
    audio = torch.randn(2, 1, 8, 8)
    assert torch.equal(model(audio=audio), model(audio=audio, visual=torch.zeros(2, 1)))


def test_a_fusion_of_ones_own_will_do():
    class First(nn.Module):
        def forward(self, features: dict[str, Tensor]) -> Tensor:
            return features["audio"]

    model = LateFusion({"audio": Mlp(3, width=4), "visual": Mlp(3, width=4)}, First())
    x = torch.randn(2, 3)
    assert torch.equal(model(audio=x, visual=x), model.encoders["audio"](x))


def test_a_missing_input_is_named():
    model = LateFusion.small(["audio", "visual"], classes=3)
    with pytest.raises(SettingError, match="needs an input for 'visual'; got 'audio'"):
        model(audio=torch.randn(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("fusion", "message"),
    [
        (ConcatFusion({"audio": 4, "text": 4}, CLASSES), "fusion must have the modalities"),
        (BilinearFusion({"audio": 4, "visual": 5}, CLASSES), "'visual' gives 4 features; .* for 5"),
    ],
)
def test_a_fusion_for_other_encoders_is_refused(fusion: nn.Module, message: str):
    with pytest.raises(SettingError, match=message):
        LateFusion({"audio": Mlp(3, width=4), "visual": Mlp(3, width=4)}, fusion)


def test_a_name_that_torch_does_not_take_is_explained():
    with pytest.raises(SettingError, match="'values' cannot name a modality of a module"):
        LateFusion.small(["audio", "values"], classes=3)
