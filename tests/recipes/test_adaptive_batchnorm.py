"""Adaptive BatchNorm layers: equal to their slow twins, exact at their ends, folded exactly."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision.models import resnet18
from torchvision.ops import FrozenBatchNorm2d

from imbalance_lens.errors import NoEffectWarning, NotApplicableError
from recipes.abri import AdaptiveBatchNorm, convert, fold, naive
from tests.golden import NUMBERS

from .mid_life import normed
from .trainings import data_of, same

GOLDEN = NUMBERS["abri"]
KINDS = {nn.BatchNorm1d: (6, 3), nn.BatchNorm2d: (6, 3, 2, 2), nn.BatchNorm3d: (6, 3, 2, 2, 2)}
kinds = pytest.mark.parametrize(("kind", "shape"), [*KINDS.items(), (nn.SyncBatchNorm, (6, 3, 2))])


class Twin(nn.Module):
    """Eq. 3 of the paper: both layers, each with statistics of its own."""

    def __init__(self, layer: nn.Module, alpha: Tensor) -> None:
        super().__init__()
        self.original, self.added = copy.deepcopy(layer), copy.deepcopy(layer)
        nn.init.ones_(self.added.weight)
        nn.init.zeros_(self.added.bias)
        self.alpha = nn.Parameter(alpha.clone())

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha.reshape(1, -1, *[1] * (x.ndim - 2)) if self.alpha.ndim else self.alpha
        return alpha * self.original(x) + (1 - alpha) * self.added(x)


def layer_of(kind: Any = nn.BatchNorm2d, channels: int = 3, **settings: Any) -> Any:
    """A layer in the middle of its life."""
    layer = kind(channels, **settings).double()
    draw = torch.Generator().manual_seed(0)
    for tensor in [layer.weight, layer.bias, layer.running_mean, layer.running_var]:
        if tensor is not None:
            tensor.data = torch.rand(channels, generator=draw, dtype=torch.float64) + 0.1
    return layer


def batches(shape: tuple[int, ...], count: int = 4) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=draw, dtype=torch.float64) * 2 + 1 for _ in range(count)]


def golden_layer() -> Any:
    layer = nn.BatchNorm2d(2).double()
    layer.weight.data, layer.bias.data = (
        torch.tensor(GOLDEN[name], dtype=torch.float64) for name in ("gamma", "beta")
    )
    return layer


def test_a_batch_gives_the_golden_numbers() -> None:
    x = torch.tensor(GOLDEN["x"], dtype=torch.float64, requires_grad=True)
    plain, layer = golden_layer(), convert(golden_layer())
    torch.testing.assert_close(layer.weight.tolist(), GOLDEN["gamma_eff"])
    torch.testing.assert_close(layer.bias.tolist(), GOLDEN["beta_eff"])
    y = layer(x)
    torch.testing.assert_close(y, torch.tensor(GOLDEN["y_train"]).double(), atol=1e-6, rtol=0)
    for answer, name in ((plain(x), "before"), (y, "after")):
        dead = (answer.relu() == 0).flatten(2).all(2).int()
        assert dead.tolist() == GOLDEN[f"relu_dead_{name}"]
    for module, name in ((plain, "BN"), (layer, "ABRi")):
        (gradient,) = torch.autograd.grad((module(x) ** 3).sum() / 3, x)
        found = gradient.abs().amax((0, 2, 3)).tolist()
        wanted = GOLDEN["absmax dL/dx per channel, L=sum(y^3)/3"][name]
        assert found == pytest.approx(wanted, abs=1e-6)


@kinds
@pytest.mark.parametrize("alpha", ["channel", "scalar"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_training_and_evaluation_are_those_of_two_layers(kind, shape, alpha, momentum) -> None:
    layer = layer_of(kind, momentum=momentum)
    start = torch.tensor(0.3, dtype=torch.float64)
    twin = Twin(layer, start if alpha == "scalar" else start.expand(3))
    convert(layer, alpha=alpha, initial_alpha=0.3)
    steps = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (layer, twin)]
    for x in batches(shape):
        for module, optimizer in zip((layer, twin), steps, strict=True):
            optimizer.zero_grad()
            (module(x) ** 3).mean().backward()
            optimizer.step()
    torch.testing.assert_close(layer.alpha, twin.alpha)
    torch.testing.assert_close(layer.added_bias, twin.added.bias)
    torch.testing.assert_close(layer.running_var, twin.original.running_var)
    torch.testing.assert_close(layer.running_var, twin.added.running_var)
    x = batches(shape)[0]
    for module in (layer.eval(), twin.eval()):
        module.requires_grad_(False)
    torch.testing.assert_close(layer(x), twin(x))
    torch.testing.assert_close(fold(layer)(x), twin(x))


@given(st.floats(-2, 2), st.lists(st.floats(-3, 3), min_size=2, max_size=2), st.booleans())
def test_any_mix_is_that_of_the_formula_and_folds_exactly(alpha, scales, training) -> None:
    layer = layer_of(channels=2)
    layer.weight.data = torch.tensor(scales, dtype=torch.float64)
    twin = Twin(layer, torch.full((2,), alpha, dtype=torch.float64)).train(training)
    convert(layer, initial_alpha=alpha).train(training)
    x = batches((6, 2, 2, 2))[0]
    with torch.no_grad():
        torch.testing.assert_close(layer(x), twin(x))
        answer = layer.eval()(x)
        assert torch.equal(fold(layer)(x), answer)


@kinds
@pytest.mark.parametrize("training", [True, False])
def test_an_alpha_of_1_is_the_original_and_of_0_a_fresh_layer_bit_by_bit(
    kind, shape, training
) -> None:
    layer = layer_of(kind).float().train(training)
    fresh = copy.deepcopy(layer)
    nn.init.ones_(fresh.weight)
    nn.init.zeros_(fresh.bias)
    x = batches(shape)[0].float()
    for initial_alpha, wanted in ((1.0, copy.deepcopy(layer)), (0.0, fresh)):
        for alpha in ("channel", "scalar"):
            made = convert(copy.deepcopy(layer), alpha=alpha, initial_alpha=initial_alpha)
            assert torch.equal(made(x), copy.deepcopy(wanted)(x))


def test_a_resnet_with_an_alpha_of_1_is_bit_by_bit_the_same_and_folds_back() -> None:
    torch.manual_seed(0)
    plain = resnet18(num_classes=5)
    model = convert(copy.deepcopy(plain), initial_alpha=1.0)
    x = torch.randn(4, 3, 32, 32)
    for step in range(2):
        for module in (plain, model):
            module.train()
            module.zero_grad()
            module(x + step).square().mean().backward()
        own = dict(model.named_parameters())
        for name, parameter in plain.named_parameters():
            assert torch.equal(parameter.grad, own[name].grad), name
    assert torch.equal(plain.eval()(x), model.eval()(x))
    layers = [m for m in model.modules() if isinstance(m, AdaptiveBatchNorm)]
    assert len(layers) == 20
    for layer in layers:
        nn.init.uniform_(layer.alpha)
        nn.init.normal_(layer.added_bias)
    answer = model(x)
    fold(model)
    torch.testing.assert_close(model(x), answer, rtol=0, atol=1e-6)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain.eval()(x), model(x))
    assert type(model.bn1) is nn.BatchNorm2d


def test_parameters_are_two_and_a_half_times_those_of_batchnorm() -> None:
    model = resnet18()
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    before = sum(p.numel() for layer in layers for p in layer.parameters())
    convert(model)
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 2.5 * before
    assert len(list(convert(resnet18(), alpha="scalar").bn1.alpha.shape)) == 0


def test_a_channel_without_scale_gets_a_gradient_again() -> None:
    x = batches((6, 3, 2, 2))[0].requires_grad_()
    plain = layer_of()
    plain.weight.data[1] = 0
    for layer, reaches in ((plain, False), (convert(copy.deepcopy(plain)), True)):
        (gradient,) = torch.autograd.grad((layer(x) ** 3).sum(), x)
        assert bool(gradient[:, 1].any()) == reaches
        assert gradient[:, 0].any()


def test_the_object_stays_with_its_hooks_and_its_kind() -> None:
    layer, heard = nn.BatchNorm2d(3), []
    layer.register_forward_hook(lambda *_: heard.append(1))
    model = nn.Sequential(layer, layer, nn.ModuleList([layer]))
    assert convert(model) is model
    assert model[0] is model[1] is layer
    assert isinstance(layer, nn.BatchNorm2d)
    layer(torch.ones(2, 3, 1, 1))
    assert heard == [1]
    names = [name for name, _ in layer.named_parameters()]
    before = copy.deepcopy(layer)
    convert(model)  # again: nothing more to do
    assert names == ["weight", "bias", "added_weight", "added_bias", "alpha"]
    assert same(layer.state_dict(), before.state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_models_are_copied_and_pickled_whole(copied) -> None:
    model = convert(normed())
    other = copied(model)
    assert isinstance(other.audio[1], AdaptiveBatchNorm)
    assert same(other.state_dict(), model.state_dict())
    nn.init.zeros_(other.audio[1].alpha)
    assert model.audio[1].alpha.eq(0.5).all()
    assert "alpha=channel" in repr(other)


def test_a_state_goes_into_another_converted_model() -> None:
    model, stored = convert(normed()), io.BytesIO()
    nn.init.uniform_(model.audio[1].alpha)
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    other = convert(normed(seed=1))
    other.load_state_dict(torch.load(stored))
    assert same(other.state_dict(), model.state_dict())


def test_a_layer_is_reset_as_its_kind_is() -> None:
    layer = convert(layer_of())
    layer.reset_parameters()
    assert layer.weight.tolist() == [1, 1, 1]
    assert layer.bias.tolist() == layer.running_mean.tolist() == [0, 0, 0]
    assert layer.alpha.tolist() == [0.5] * 3


def test_bf16_gives_finite_gradients_to_everything() -> None:
    model = convert(normed())
    inputs = data_of().tensors
    with torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(model(*inputs[:2]), inputs[2])
    loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in [*model.audio[1].parameters()])
    half = convert(nn.BatchNorm1d(3).bfloat16())
    assert half(torch.randn(4, 3, dtype=torch.bfloat16)).dtype is half.alpha.dtype


def test_a_converted_model_compiles() -> None:
    model = convert(normed())
    inputs = data_of().tensors[:2]
    compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), model(*inputs))


def test_layers_without_statistics_or_scale() -> None:
    layer = layer_of(nn.BatchNorm1d, track_running_stats=False)
    twin = Twin(layer, torch.full((3,), 0.5, dtype=torch.float64)).eval()
    x = batches((6, 3))[0]
    torch.testing.assert_close(convert(layer).eval()(x), twin(x))
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.BatchNorm1d(3))
    convert(model)
    assert [isinstance(layer, AdaptiveBatchNorm) for layer in model] == [False, True]


def frozen() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3).requires_grad_(False))


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (nn.Linear(3, 3), "The model has no BatchNorm layer with a trainable scale"),
        (nn.LayerNorm(3), "The model has no BatchNorm layer"),
        (nn.BatchNorm1d(3, affine=False), "There is BatchNorm1d, whose scale and shift do not"),
        (FrozenBatchNorm2d(3), "There is FrozenBatchNorm2d, whose scale and shift do not train"),
        (nn.LazyBatchNorm1d(), "'LazyBatchNorm1d' is lazy and does not know its channels yet"),
        (frozen(), "'1' is frozen, so nothing would train it. Set requires_grad"),
        (parametrizations.weight_norm(nn.BatchNorm1d(3), dim=0), "is computed or missing"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_words(model, complaint) -> None:
    before = [type(module) for module in model.modules()]
    with pytest.raises(NotApplicableError, match=complaint):
        convert(model)
    assert [type(module) for module in model.modules()] == before


def test_a_layer_is_made_by_convert_only() -> None:
    with pytest.raises(NotApplicableError, match=r"recipes.abri.convert\(layer\)"):
        AdaptiveBatchNorm(3)


def test_the_naive_baseline_touches_channels_without_scale_only() -> None:
    layer = layer_of()
    layer.weight.data = torch.tensor([1e-9, 0.5, 0.0], dtype=torch.float64)
    before, mean = layer.bias.tolist(), layer.running_mean.tolist()
    naive(layer)
    assert layer.weight.tolist() == [1, 0.5, 1]
    assert layer.bias.tolist() == [0, before[1], 0]
    assert layer.running_mean.tolist() == mean
    assert type(layer) is nn.BatchNorm2d
    with pytest.warns(NoEffectWarning, match="No BatchNorm channel has a scale below 1e-06"):
        naive(layer)
    naive(layer, threshold=torch.inf)
    assert layer.weight.tolist() == [1, 1, 1]
