"""Encoders: shapes, frames one by one, positions, and the same as the well-known parts."""

import math

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from imbalance_lens.errors import SettingError
from imbalance_lens.models import Mlp, ResNet18, SmallCnn, Transformer
from imbalance_lens.models.encoders import positions

ENCODERS = {
    "spectrogram": (lambda: SmallCnn(width=4), (1, 40, 64)),
    "color_image": (lambda: SmallCnn(3, width=4), (3, 8, 8)),
    "resnet_spectrogram": (lambda: ResNet18(1), (1, 40, 64)),
    "resnet_frames": (ResNet18, (3, 2, 32, 32)),
    "mlp": (lambda: Mlp(12, width=8, layers=3), (3, 4)),
    "transformer": (lambda: Transformer(6, width=8), (9, 6)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_gives_as_many_features_as_it_says_and_all_of_it_learns(name: str):
    make, shape = ENCODERS[name]
    encoder = make()
    features = encoder(torch.randn(3, *shape))
    assert features.shape == (3, encoder.out_features)
    features.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


@pytest.mark.parametrize("name", ENCODERS)
def test_the_same_seed_gives_the_same_encoder(name: str):
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(torch.cat([p.flatten() for p in ENCODERS[name][0]().parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_the_features_of_frames_are_their_mean():
    encoder, frames = ResNet18().eval(), torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        each = [encoder(frames[:, :, t]) for t in range(4)]
        torch.testing.assert_close(encoder(frames), sum(each) / 4, atol=1e-5, rtol=1e-5)


def test_frames_of_one_example_never_meet_those_of_another():
    encoder, frames = ResNet18().eval(), torch.randn(2, 3, 4, 32, 32)
    other = torch.cat([frames[:1], torch.randn(1, 3, 4, 32, 32)])
    with torch.no_grad():
        same, changed = encoder(frames) - encoder(other)
    assert same.abs().max() < 1e-5
    assert changed.abs().max() > 1e-3


def test_a_resnet_is_torchvisions_without_its_last_layer():
    torch.manual_seed(3)
    encoder = ResNet18().eval()
    torch.manual_seed(3)
    whole = resnet18().eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(whole.fc(encoder(images)), whole(images))


def test_a_first_layer_for_one_channel_starts_as_torchvisions_does():
    weight = ResNet18(1).net.conv1.weight
    assert weight.shape == (64, 1, 7, 7)
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 49)), rel=0.05)


def test_a_transformer_hears_the_order_and_every_step():
    encoder = Transformer(6, width=8).eval()
    sequence = torch.randn(1, 5, 6, requires_grad=True)
    features = encoder(sequence)
    assert not torch.allclose(features, encoder(sequence.flip(1)), atol=1e-4)
    features[0, 0].backward()
    assert sequence.grad is not None
    assert (sequence.grad.abs().sum(2) > 0).all()


@pytest.mark.parametrize("width", [4, 7])
def test_positions_are_the_papers_sines_and_cosines(width: int):
    table = positions(6, width)
    assert table.shape == (6, width)
    for p in range(6):
        for i in range(width):
            angle = p / 10_000 ** ((i - i % 2) / width)
            wanted = math.cos(angle) if i % 2 else math.sin(angle)
            assert table[p, i].item() == pytest.approx(wanted, abs=1e-6)


def test_an_mlp_is_linear_layers_with_relu():
    encoder, x = Mlp(12, width=8), torch.randn(2, 3, 4)
    first, second = (layer for layer in encoder if isinstance(layer, nn.Linear))
    torch.testing.assert_close(encoder(x), second(first(x.flatten(1)).relu()).relu())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmallCnn(0), "channels must be a whole number above 0; got 0"),
        (lambda: SmallCnn(width=0), "width must be a whole number"),
        (lambda: ResNet18(0), "channels must be a whole number"),
        (lambda: Mlp(4, layers=0), "layers must be a whole number"),
        (lambda: Mlp(0), "in_features must be a whole number"),
        (lambda: Transformer(0), "in_features must be a whole number"),
        (lambda: Transformer(6, width=10), "width must be a multiple of heads; got 10 and 4"),
        (lambda: Transformer(6, dropout=-0.1), "dropout must be 0 or more"),
        (lambda: ResNet18()(torch.ones(3, 32, 32)), r"images must be \(batch, channels, height"),
        (lambda: Transformer(6)(torch.ones(2, 6)), r"sequence must be \(batch, steps, 6\)"),
        (lambda: Transformer(6)(torch.ones(2, 3, 5)), r"sequence must be \(batch, steps, 6\)"),
    ],
)
def test_what_an_encoder_cannot_be_or_take_is_refused(make, message: str):
    with pytest.raises(SettingError, match=message):
        make()
