"""Activations are named after what made their input, and their channels are found."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from .hearing import BATCH, Model, heard_in, only, pictures


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    ("run", "name", "kind"),
    [
        (lambda own, x: own.conv(x), "conv", "conv"),
        (lambda own, x: own.bn(x), "bn", "batchnorm"),
        (lambda own, x: own.frozen(x), "frozen", "batchnorm"),
        (lambda own, x: own.bn(own.conv(x)), "bn", "batchnorm"),
        (lambda own, x: own.block(x), "block.1", "batchnorm"),
        (lambda own, x: own.pool(own.bn(x)), "pool", "other"),
        (lambda own, x: x + own.bn(x), "(sum)", "sum"),
        (lambda own, x: torch.add(own.bn(x), x), "(sum)", "sum"),
        (lambda own, x: own.bn(x).add_(x), "(sum)", "sum"),
        (lambda own, x: own.bn(x) - x, "(sum)", "sum"),
        (lambda own, x: own.bn(x) + 1, "(add)", "other"),
        (lambda own, x: own.bn(x) + x.new_ones(3, 1, 1), "(add)", "other"),
        (lambda own, x: own.bn(x).mul_(2), "(mul)", "other"),
        (lambda own, x: F.conv2d(x, x.new_ones(3, 3, 3, 3)), "(conv2d)", "conv"),
        (lambda own, x: own.tied(own.conv(x)), "tied", "conv"),
        (lambda own, x: own.bare(x), "bare", "batchnorm"),
        (lambda own, x: own.dropout(own.bn(x)), "bn", "batchnorm"),
        (lambda own, x: own.identity(own.bn(x)), "bn", "batchnorm"),
        (lambda own, x: own.bn(x).double().contiguous(), "bn", "batchnorm"),
        (lambda own, x: own.bn.forward(x), "bn", "batchnorm"),
        (lambda own, x: own.scripted(x), "scripted", "other"),
        (lambda own, x: x, "(other)", "other"),
    ],
)
def test_an_activation_is_named_after_what_made_its_input(run, name, kind):
    conv, tied = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
    tied.weight = conv.weight
    model = Model(
        lambda own, x: run(own, x).relu(),
        conv=conv,
        tied=tied,
        bare=nn.BatchNorm2d(3, affine=False),
        bn=nn.BatchNorm2d(3),
        frozen=torchvision.ops.FrozenBatchNorm2d(3),
        block=nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)),
        pool=nn.MaxPool2d(2),
        dropout=nn.Dropout(),
        identity=nn.Identity(),
        scripted=torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU())),
    )
    found, activation = only(heard_in(model, pictures()))
    assert found == f"{name} > relu"
    assert activation.kind == kind


def test_a_tensor_is_not_mistaken_for_a_dead_one_at_the_same_address():
    def run(own, x):
        for _ in range(20):
            own.bn(x)
            assert x.clone().exp().relu().shape == x.shape
        return x

    heard = heard_in(Model(run, bn=nn.BatchNorm2d(3)), pictures())
    assert {each.kind for each in heard.values()} == {"other"}
    assert len(heard) == 20


def test_several_calls_in_one_place_are_counted():
    model = Model(lambda own, x: own.bn(own.bn(x).relu()).relu(), bn=nn.BatchNorm2d(3))
    assert list(heard_in(model, pictures())) == ["bn > relu", "bn#1 > relu"]


def linear(**modules: nn.Module) -> dict[str, nn.Module]:
    return {"linear": nn.Linear(6, 7), "norm": nn.LayerNorm(7), "bn": nn.BatchNorm1d(5), **modules}


@pytest.mark.parametrize(
    ("run", "channels"),
    [
        (lambda own, x: own.linear(x), 7),
        (lambda own, x: own.norm(own.linear(x)), 7),
        (lambda own, x: own.dropout(own.linear(x)), 7),
        (lambda own, x: own.linear(x) * 2 + 1, 7),
        (lambda own, x: own.linear(x) + own.linear(x), 7),
        (lambda own, x: torch.cat([own.linear(x), own.linear(x)], -1), 14),
        (lambda own, x: own.linear(x).transpose(1, 2), 7),
        (lambda own, x: own.linear(x).transpose(dim0=0, dim1=1).transpose(0, 1), 7),
        (lambda own, x: own.linear(x)[:, None].permute(0, 3, 1, 2), 7),
        (lambda own, x: own.bn(x).movedim(1, 2) + 1, 5),
        (lambda own, x: x @ own.linear.weight.T, 7),
        (lambda own, x: own.linear.weight @ x.transpose(1, 2), 7),
        (lambda own, x: own.lstm(x)[0], 8),
        (lambda own, x: own.attention(x, x, x)[0], 6),
        (lambda own, x: own.bn(x), 5),
        (lambda own, x: own.bn(own.linear(x)), 5),
        (lambda own, x: own.linear(x[:, 0]), 7),
        (lambda own, x: own.linear(x)[:, :, None], 7),
    ],
)
def test_channels_lie_where_their_maker_puts_them(run, channels):
    model = Model(
        lambda own, x: run(own, x).relu(),
        **linear(
            dropout=nn.Dropout(),
            lstm=nn.LSTM(6, 8, batch_first=True),
            attention=nn.MultiheadAttention(6, 2, batch_first=True),
        ),
    )
    _, activation = only(heard_in(model, torch.randn(BATCH, 5, 6)))
    assert activation.highest.shape == (BATCH, channels)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_transformer_s_channels_are_found_whether_the_batch_comes_first_or_not(batch_first):
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(6, 2, 10, batch_first=batch_first),
        2,
        enable_nested_tensor=False,
    )
    x = torch.randn(BATCH, 5, 6)
    stored: list[Tensor] = []
    for layer in model.layers:
        layer.get_submodule("linear1").register_forward_hook(lambda *call: stored.append(call[2]))
    heard = heard_in(model, x if batch_first else x.transpose(0, 1))
    assert list(heard) == [f"layers.{k}.linear1 > relu" for k in range(2)]
    for activation, output in zip(heard.values(), stored, strict=True):
        assert torch.equal(activation.highest, output.relu().amax(1 if batch_first else 0))
