"""Fusions: the golden numbers, the papers' formulas written out, and what they refuse."""

from functools import reduce

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from imbalance_lens.errors import SettingError, UnknownNameError
from imbalance_lens.models import (
    AttentionFusion,
    BilinearFusion,
    ConcatFusion,
    FilmFusion,
    Fusion,
    GatedFusion,
    GatedUnitFusion,
    LowRankFusion,
    MlpFusion,
    SumFusion,
)
from tests.golden import NUMBERS
from tests.models.fusions import ALL, ANY_NUMBER, CASES, CLASSES, PAIRS, draw, sizes_of

EXACT = torch.float64
XY = {"x": 2, "y": 2}
X, Y = torch.tensor([[1.0, -1.0]], dtype=EXACT), torch.tensor([[2.0, 0.5]], dtype=EXACT)
# The weights below that give the golden numbers of FiLM and gate were solved for: the numbers came
# without them. Twelve numbers of six digits leave no room for another formula.
WHO = {"full": "xy", "x only": "x", "y only": "y", "none": ""}


def set_linear(layer: nn.Module, weight: object, bias: object) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight, dtype=EXACT))  # pyright: ignore
        layer.bias.copy_(torch.tensor(bias, dtype=EXACT))  # pyright: ignore


def answers(fusion: Fusion) -> dict[str, list[list[float]]]:
    """The logits of the golden inputs, with the features of all others set to zero."""
    return {
        key: fusion({"x": X * ("x" in who), "y": Y * ("y" in who)}).tolist()
        for key, who in WHO.items()
    }


@pytest.mark.parametrize(("name", "count"), CASES)
def test_a_fusion_gives_logits_and_hears_every_modality(name: str, count: int):
    sizes = sizes_of(count)
    fusion, features = ALL[name](sizes), draw(sizes)
    logits = fusion(features)
    assert logits.shape == (6, CLASSES)
    logits.square().sum().backward()
    for vector in features.values():
        assert vector.grad is not None
        assert (vector.grad.abs().sum(1) > 0).all()
    assert all(p.grad is not None and p.grad.any() for p in fusion.parameters())


@pytest.mark.parametrize("name", ALL)
def test_every_example_is_answered_for_itself(name: str):
    sizes = sizes_of(2)
    fusion, features = ALL[name](sizes), draw(sizes)
    one_by_one = [fusion({m: x[i : i + 1] for m, x in features.items()}) for i in range(6)]
    torch.testing.assert_close(fusion(features), torch.cat(one_by_one))


@pytest.mark.parametrize("name", ALL)
def test_features_are_told_apart_by_name_and_not_by_place(name: str):
    sizes = dict.fromkeys(("audio", "visual"), 6)
    fusion, features = ALL[name](sizes), draw(sizes)
    backwards = dict(reversed(features.items()))
    assert torch.equal(fusion(features), fusion(backwards))
    swapped = {"audio": features["visual"], "visual": features["audio"]}
    assert not torch.allclose(fusion(features), fusion(swapped))


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_fusion(name: str):
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(torch.cat([p.flatten() for p in ALL[name](sizes_of(2)).parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_an_mlp_gives_the_golden_numbers():
    fusion = MlpFusion(XY, 2, width=3).double()
    set_linear(fusion.head[0], [[1, 0, 1, 0], [0, 1, 0, -1], [1, 1, -1, 0]], [-2, 0.1, 0.5])
    set_linear(fusion.head[2], [[1, 0, 1], [0, 1, -1]], [0, 0])
    expect_golden("mlp", answers(fusion))


def test_film_gives_the_golden_numbers():
    fusion = FilmFusion(XY, 2).double()
    set_linear(fusion.film, [[1, 0], [0, 1], [0, 0], [0, 0]], [0.1, 0.2, 0.05, 0.25])
    set_linear(fusion.head, [[1, 0], [0, 1]], [0, 0])
    expect_golden("film", answers(fusion))


def test_a_gate_gives_the_golden_numbers():
    fusion = GatedFusion(XY, 2, width=2).double()
    set_linear(fusion.gate, [[1, 0], [0, 1]], [0, 0.5])
    set_linear(fusion.value, [[2, 0], [0, 2]], [0.1, -0.1])
    set_linear(fusion.head, [[1, 0], [0, 1]], [0.05, -0.05])
    expect_golden("gated", answers(fusion))


def expect_golden(name: str, found: dict[str, list[list[float]]]) -> None:
    for key in set(WHO) & set(NUMBERS[name]):
        assert found[key][0] == pytest.approx(NUMBERS[name][key][0], abs=1e-6), key


@pytest.mark.parametrize("kind", [FilmFusion, GatedFusion])
def test_the_modality_that_acts_can_be_chosen(kind: type[FilmFusion] | type[GatedFusion]):
    sizes = {"audio": 3, "visual": 4}
    torch.manual_seed(0)
    fusion = kind(sizes, 5, acting="visual")
    torch.manual_seed(0)
    turned = kind(dict(reversed(sizes.items())), 5)
    features = draw(sizes)
    assert (fusion.acting, fusion.acted_on) == ("visual", "audio")
    assert torch.equal(fusion(features), turned(features))


@given(count=st.integers(1, 4), rank=st.integers(1, 5), seed=st.integers(0, 1000))
def test_low_rank_weights_are_those_of_the_outer_product(count: int, rank: int, seed: int):
    torch.manual_seed(seed)
    sizes = sizes_of(count)
    fusion = LowRankFusion(sizes, CLASSES, rank=rank).double()
    nn.init.normal_(fusion.bias)
    features = {name: x.double() for name, x in draw(sizes, batch=3).items()}
    weight = reduce(outer, [factor(fusion, name, rank) for name in sizes]).sum(0)
    for row, logits in enumerate(fusion(features)):
        tensor = reduce(
            torch.kron, [torch.cat([x[row], torch.ones(1, dtype=EXACT)]) for x in features.values()]
        )
        torch.testing.assert_close(logits, weight @ tensor + fusion.bias)


def factor(fusion: LowRankFusion, name: str, rank: int) -> Tensor:
    """The weights on [x; 1], (rank, classes, size + 1)."""
    layer = fusion.factors[name]
    with_one = torch.cat([layer.weight, layer.bias[:, None]], 1)  # pyright: ignore
    return with_one.unflatten(0, (rank, CLASSES))


def outer(first: Tensor, second: Tensor) -> Tensor:
    """Outer products over the last dimension, flattened, for every rank and class."""
    return (first[..., :, None] * second[..., None, :]).flatten(-2)


def test_a_bilinear_fusion_is_a_quadratic_form_per_class():
    fusion = BilinearFusion({"audio": 3, "visual": 4}, CLASSES)
    features = draw(fusion.sizes)
    for row, logits in enumerate(fusion(features)):
        for c in range(CLASSES):
            x, y = features["audio"][row], features["visual"][row]
            wanted = x @ fusion.head.weight[c] @ y + fusion.head.bias[c]
            torch.testing.assert_close(logits[c], wanted)


def test_gated_units_are_added_as_the_paper_writes_them():
    sizes = sizes_of(3)
    fusion, features = GatedUnitFusion(sizes, CLASSES, width=7), draw(sizes)
    for row, logits in enumerate(fusion(features)):
        together = torch.cat([features[m][row] for m in sizes])
        hidden = torch.zeros(7)
        for m in sizes:
            gate = torch.sigmoid(fusion.gates[m].weight @ together)  # pyright: ignore
            hidden = hidden + gate * torch.tanh(fusion.values[m].weight @ features[m][row])  # pyright: ignore
        torch.testing.assert_close(logits, fusion.head.weight @ hidden + fusion.head.bias)


def test_attention_is_over_one_token_per_modality_and_the_class_token_answers():
    sizes = sizes_of(3)
    fusion, features = AttentionFusion(sizes, CLASSES, width=8, heads=2), draw(sizes)
    tokens = [torch.zeros(6, 8), *(fusion.tokens[m](features[m]) for m in sizes)]
    h = torch.stack(tokens, 1) + fusion.embeddings
    layer = fusion.attention.layers[0]
    q, k, v = (
        (h @ w.T + b).unflatten(2, (2, 4)).transpose(1, 2)
        for w, b in zip(
            layer.self_attn.in_proj_weight.chunk(3),  # pyright: ignore
            layer.self_attn.in_proj_bias.chunk(3),  # pyright: ignore
            strict=True,
        )
    )
    mixed = ((q @ k.mT / 2).softmax(-1) @ v).transpose(1, 2).flatten(2)
    h = layer.norm1(h + layer.self_attn.out_proj(mixed))  # pyright: ignore
    h = layer.norm2(h + layer.linear2(layer.linear1(h).relu()))  # pyright: ignore
    torch.testing.assert_close(fusion(features), fusion.head(h[:, 0]))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_sum_is_a_concatenation_whose_bias_is_the_sum_of_the_biases(count: int):
    sizes = sizes_of(count)
    added, joined, features = SumFusion(sizes, CLASSES), ConcatFusion(sizes, CLASSES), draw(sizes)
    with torch.no_grad():
        heads = list(added.heads.values())
        joined.head.weight.copy_(torch.cat([h.weight for h in heads], 1))  # pyright: ignore
        joined.head.bias.copy_(torch.stack([h.bias for h in heads]).sum(0))  # pyright: ignore
    torch.testing.assert_close(added(features), joined(features))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_defined_for_two_says_what_to_take_for_others(name: str, count: int):
    with pytest.raises(SettingError, match=r"is defined for two modalities; got .*LowRankFusion"):
        PAIRS[name](sizes_of(count))


def test_the_fusions_that_are_named_for_more_modalities_take_them():
    with pytest.raises(SettingError) as complaint:
        FilmFusion(sizes_of(3), CLASSES)
    for make in ANY_NUMBER.values():
        assert type(make(sizes_of(3))).__name__ in str(complaint.value)


@pytest.mark.parametrize("name", ALL)
def test_features_that_do_not_fit_are_explained(name: str):
    sizes = sizes_of(2)
    fusion, features = ALL[name](sizes), draw(sizes)
    with pytest.raises(SettingError, match=r"features must have the modalities"):
        fusion({"audio": features["audio"]})
    with pytest.raises(SettingError, match=r"features\['visual'\] must be \(batch, 8\); got"):
        fusion({**features, "visual": torch.zeros(6, 9)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConcatFusion({}, 3), "sizes names no modality"),
        (lambda: ConcatFusion({"audio": 0}, 3), r"sizes\['audio'\] must be a whole number"),
        (lambda: SumFusion({"audio": 2}, 0), "classes must be a whole number"),
        (lambda: SumFusion({"keys": 2}, 2), "'keys' cannot name a modality of a module"),
        (lambda: SumFusion({"a.b": 2}, 2), "'a.b' cannot name a modality of a module"),
        (lambda: MlpFusion(XY, 2, hidden=0), "hidden must be a whole number"),
        (lambda: GatedFusion(XY, 2, width=0), "width must be a whole number"),
        (lambda: LowRankFusion(XY, 2, rank=0), "rank must be a whole number"),
        (lambda: AttentionFusion(XY, 2, width=6, heads=4), "width must be a multiple of heads"),
        (lambda: AttentionFusion(XY, 2, dropout=1.0), "dropout must be 0 or more and below 1"),
    ],
)
def test_settings_that_make_no_fusion_are_refused(make, message: str):
    with pytest.raises(SettingError, match=message):
        make()


def test_a_modality_that_is_not_there_cannot_act():
    with pytest.raises(UnknownNameError, match="text"):
        FilmFusion(XY, 2, acting="text")
