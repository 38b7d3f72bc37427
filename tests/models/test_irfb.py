"""Transformers of several modalities: golden numbers, slow twins, padding, who sees whom."""

import math

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
import recipes
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.errors import SettingError
from imbalance_lens.models import BottleneckTransformer, Irfb, IrfbTransformer
from imbalance_lens.models._streams import Stream, mean_token, with_class
from imbalance_lens.models.irfb import AttentionSum
from tests.golden import NUMBERS

SIZES = {"audio": 6, "visual": 4, "text": 5}
STEPS = {"audio": 7, "visual": 3, "text": 5}
BOTH = (IrfbTransformer, BottleneckTransformer)
AGGREGATES = ("sum_ffn", "eq4")


def made(kind=IrfbTransformer, seed=0, sizes=SIZES, **settings):
    torch.manual_seed(seed)
    return kind(sizes, 3, **{"width": 8, "bottleneck": 4, **settings}).eval()


def sequences(batch=6, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return {m: torch.randn(batch, STEPS[m], size, generator=draw) for m, size in SIZES.items()}


def masks(batch=6):
    """The first example is whole, the last all padding."""
    lengths = {m: torch.linspace(steps, 0, batch).round() for m, steps in STEPS.items()}
    return {m: torch.arange(STEPS[m]) < kept[:, None] for m, kept in lengths.items()}


def padded(fill: float, batch=6):
    present = masks(batch)
    return {
        m: (x.masked_fill(~present[m].unsqueeze(2), fill), present[m])
        for m, x in sequences(batch).items()
    }


def test_attention_over_all_that_was_found_is_the_golden_one():
    golden = NUMBERS["irfb_eq4"]
    rule = AttentionSum(2).double()
    with torch.no_grad():
        rule.hidden.weight.copy_(torch.eye(2))
        rule.hidden.bias.zero_()
        rule.score.weight.copy_(torch.tensor([golden["v"]]))
    found = torch.tensor([golden["z_g"]], dtype=torch.float64)
    start = torch.zeros(1, 3, 2, dtype=torch.float64)
    update = rule(start, [found[:, :2], found[:, 2:]])
    assert update[0].flatten().tolist() == pytest.approx(3 * golden["update"], abs=1.5e-6)


def test_a_gate_that_is_the_same_everywhere_is_cancelled_by_the_norm():
    golden = NUMBERS["irfb_gate"]
    z = torch.tensor(golden["z"], dtype=torch.float64)
    norm = nn.LayerNorm(4).double()
    gated = norm(z + torch.tensor(golden["gate"]) * z)
    assert gated.tolist() == pytest.approx(golden["LN(z+g*z)"], abs=1e-5)
    assert gated.tolist() == pytest.approx(norm(z).tolist(), abs=1e-5)


def normalized(row: Tensor) -> Tensor:
    return (row - row.mean()) / (row.var(correction=0) + 1e-5).sqrt()


def attended(layer: nn.MultiheadAttention, query: Tensor, keys: Tensor) -> Tensor:
    """Multi-head attention of one token, head by head."""
    width, heads = layer.embed_dim, layer.num_heads
    w_q, w_k, w_v = layer.in_proj_weight.chunk(3)
    part, answers = width // heads, []
    for h in range(heads):
        rows = slice(h * part, (h + 1) * part)
        q, k, v = w_q[rows] @ query, keys @ w_k[rows].T, keys @ w_v[rows].T
        answers.append((k @ q / math.sqrt(part)).softmax(0) @ v)
    return layer.out_proj.weight @ torch.cat(answers)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_block_is_the_one_of_the_paper(aggregate: str):
    torch.manual_seed(0)
    block = Irfb(["a", "b", "c"], 6, heads=2, aggregate=aggregate).double()
    tokens = {
        m: torch.randn(1, steps, 6).double() for m, steps in zip("abc", (4, 3, 5), strict=True)
    }
    start = torch.randn(1, 2, 6).double()
    classes = torch.cat([z[0, 0] for z in tokens.values()])
    found = {}
    for m, z in tokens.items():
        gate = (block.gates[m].weight @ classes + block.gates[m].bias).sigmoid()
        rows = []
        for b in start[0]:
            a = normalized(b + attended(block.attention[m], b, z[0]))
            rows.append(normalized(a + gate * a))
        found[m] = torch.stack(rows)
    rule = block.aggregate
    if aggregate == "eq4":
        row = torch.cat([*found.values()])
        scores = torch.stack([rule.score.weight[0] @ rule.hidden(z).tanh() for z in row])
        wanted = start[0] + scores.softmax(0) @ row
    else:
        together = found["a"] + found["b"] + found["c"]
        first, _, second = rule.feed_forward
        hidden = (together @ first.weight.T + first.bias).clamp_min(0)
        wanted = torch.stack(
            [
                normalized(t + second.weight @ h + second.bias)
                for t, h in zip(together, hidden, strict=True)
            ]
        )
    torch.testing.assert_close(block(start, tokens)[0], wanted)


def test_a_bottleneck_layer_exchanges_the_mean_of_the_shared_tokens():
    model, inputs = made(BottleneckTransformer, layers=2), sequences(batch=2)
    tokens = {
        m: model.tokens[m](x, torch.ones(x.shape[:2], dtype=torch.bool)) for m, x in inputs.items()
    }
    shared = model.bottleneck.expand(2, -1, -1)
    for number in range(2):
        rows = {m: model.layers[m][number](torch.cat([z, shared], 1)) for m, z in tokens.items()}
        tokens = {m: row[:, : len(row[0]) - 4] for m, row in rows.items()}
        shared = sum(row[:, -4:] for row in rows.values()) / 3
    torch.testing.assert_close(model(**inputs), model.head(shared.mean(1)))
    for m, vector in model.features(**inputs).items():
        torch.testing.assert_close(vector, tokens[m].mean(1))


@pytest.mark.parametrize("kind", BOTH)
def test_what_stands_in_the_padding_changes_nothing(kind):
    model = made(kind)
    zeros, noise, nan = (padded(fill) for fill in (0.0, 1e4, math.nan))
    for other in (noise, nan):
        assert torch.equal(model(**other), model(**zeros))
        for m, vector in model.features(**other).items():
            assert torch.equal(vector, model.features(**zeros)[m])
            assert vector.isfinite().all()


@pytest.mark.parametrize("kind", BOTH)
def test_padding_gets_no_gradient_and_gives_no_nan(kind):
    model, inputs = made(kind), padded(math.nan)
    steps = {m: x.requires_grad_() for m, (x, _) in inputs.items()}
    model.train()
    model(**{m: (x, inputs[m][1]) for m, x in steps.items()}).square().sum().backward()
    for m, x in steps.items():
        assert (x.grad[~inputs[m][1]] == 0).all()
        assert (x.grad[inputs[m][1]] != 0).any()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", BOTH)
def test_a_padded_sequence_is_answered_like_the_short_one(kind):
    model, whole = made(kind), sequences(batch=2)
    short = {m: x[:, :2] for m, x in whole.items()}
    masked = {m: (x, (torch.arange(x.shape[1]) < 2).expand(2, -1)) for m, x in whole.items()}
    torch.testing.assert_close(model(**masked), model(**short))
    for m, vector in model.features(**masked).items():
        torch.testing.assert_close(vector, model.features(**short)[m])


def reach(model, m: str) -> dict[str, bool]:
    """Whose input the features of a modality depend on."""
    inputs = {name: x.requires_grad_() for name, x in sequences().items()}
    loss = model.features(**inputs)[m].square().sum()
    found = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    return {
        name: gradient is not None and bool(gradient.any())
        for name, gradient in zip(inputs, found, strict=True)
    }


@pytest.mark.parametrize("m", SIZES)
def test_no_modality_sees_another_but_through_shared_tokens(m: str):
    alone = {name: name == m for name in SIZES}
    assert reach(made(layers=3), m) == alone
    assert reach(made(BottleneckTransformer, layers=1), m) == alone
    assert reach(made(BottleneckTransformer, layers=2), m) == dict.fromkeys(SIZES, True)


@pytest.mark.parametrize("kind", BOTH)
def test_every_modality_reaches_the_logits(kind):
    inputs = {name: x.requires_grad_() for name, x in sequences().items()}
    found = torch.autograd.grad(made(kind)(**inputs).square().sum(), list(inputs.values()))
    assert all(gradient.any() for gradient in found)


@pytest.mark.parametrize("detached", [False, True])
def test_the_joint_loss_trains_the_streams_unless_they_are_detached(detached: bool):
    model = made(detach_streams=detached)
    model(**sequences()).square().sum().backward()
    trained = [p.grad is not None and bool(p.grad.any()) for p in model.streams.parameters()]
    assert any(trained) is not detached
    assert all(p.grad is not None for p in model.blocks.parameters())


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_order_of_the_gathering_tokens_is_of_no_account(kind, aggregate: str):
    settings = {"aggregate": aggregate} if kind is IrfbTransformer else {}
    model, inputs = made(kind, **settings), sequences()
    before = model(**inputs)
    with torch.no_grad():
        model.bottleneck.copy_(model.bottleneck[torch.tensor([2, 0, 3, 1])])
    torch.testing.assert_close(model(**inputs), before)


def test_permuted_tokens_come_out_permuted():
    torch.manual_seed(0)
    block, order = Irfb(["a", "b"], 8), torch.tensor([2, 0, 1])
    tokens, start = {m: torch.randn(2, 4, 8) for m in "ab"}, torch.randn(2, 3, 8)
    torch.testing.assert_close(block(start[:, order], tokens), block(start, tokens)[:, order])


def test_gathering_tokens_begin_and_stay_different():
    torch.manual_seed(0)
    model = made(bottleneck=4)
    assert model.bottleneck.std().item() == pytest.approx(0.02, rel=0.5)
    block = model.blocks[0]
    tokens = {m: torch.randn(2, 4, 8) for m in SIZES}
    spread = block(model.bottleneck.expand(2, -1, -1), tokens).std(1).max()
    equal = block(torch.zeros(2, 4, 8), tokens).std(1).max()
    assert spread > 1e-4
    assert equal < 1e-6


def test_the_class_token_is_first_and_never_padding():
    present = torch.tensor([[True, False]])
    assert with_class(present).tolist() == [[True, True, False]]
    tokens = torch.tensor([[[1.0], [3.0], [math.nan]]])
    assert mean_token(tokens, with_class(present)).tolist() == [[2.0]]
    stream = Stream(4, 8, layers=2, heads=2, dropout=0.0)
    mean, *states, padding = stream(torch.randn(1, 2, 4), present)
    assert [state.shape for state in states] == [(1, 3, 8)] * 2
    torch.testing.assert_close(mean, states[-1][:, :2].mean(1))
    assert padding.tolist() == [[False, False, True]]


@pytest.mark.parametrize("inputs", [sequences(), padded(0.0)], ids=["whole", "padded"])
def test_the_streams_are_found_as_encoders(inputs):
    model = made()
    found = lens.find_anatomy(model, inputs)
    assert found.encoders == {m: f"streams.{m}" for m in SIZES}
    assert found.sites == {m: (f"streams.{m}",) for m in SIZES}
    assert found.head == "head"
    assert not found.entangled
    with Replayer(model, found) as replayer:
        features = replayer.capture(bind(model, inputs)).features
    for m, vector in model.features(**inputs).items():
        torch.testing.assert_close(features[m], vector)


def test_with_olm_it_trains_each_stream_by_a_head_of_its_own():
    labels = torch.arange(6) % 3
    batches = [(padded(0.0), labels)]
    model = made(detach_streams=True)  # so that no other loss reaches them
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit = recipes.apply(
        "olm", model, batches * 3, val=batches, epochs=1, every=1, seed=0, device="cpu"
    )
    assert {m: head[1].weight.shape for m, head in fit.heads.items()} == dict.fromkeys(
        SIZES, (3, 8)
    )
    for m in SIZES:
        own = {n: p for n, p in model.named_parameters() if n.startswith(f"streams.{m}.")}
        assert any(not torch.equal(p, before[n]) for n, p in own.items())
    assert (fit.history["logit_coefficient"] != 1).all()


@pytest.mark.parametrize("kind", BOTH)
def test_misfits_are_explained(kind):
    model, inputs = made(kind), sequences()
    with pytest.raises(SettingError, match="needs an input for 'visual'; got 'audio', 'text'"):
        model(audio=inputs["audio"], text=inputs["text"])
    with pytest.raises(SettingError, match=r"'text' must be \(batch, steps, 5\)"):
        model(**{**inputs, "text": inputs["audio"]})
    with pytest.raises(SettingError, match=r"mask of 'text' must be bool, \(6, 5\)"):
        model(**{**inputs, "text": (inputs["text"], torch.ones(6, 5))})
    with pytest.raises(SettingError, match="Two or more modalities"):
        made(kind, sizes={"audio": 6})
    with pytest.raises(SettingError, match="bottleneck must be a whole number above 0"):
        made(kind, bottleneck=0)
    with pytest.raises(SettingError, match="aggregate='mean' is not known"):
        made(aggregate="mean")
