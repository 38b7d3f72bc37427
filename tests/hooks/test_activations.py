"""Activations are heard once each, to the last bit, and left as they are."""

import gc
import weakref
from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it
from torch.overrides import TorchFunctionMode, _len_torch_function_stack
from torch.utils.checkpoint import checkpoint

from imbalance_lens.errors import NotApplicableError
from imbalance_lens.hooks.activations import activations, by_example
from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.hooks.patches import patched
from imbalance_lens.testing import assert_passive

from .hearing import BATCH, Model, heard_in, only, pictures


def resnet() -> nn.Module:
    model = torchvision.models.resnet18(num_classes=4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.eval()


def test_a_resnet_s_activations_are_told_apart_by_what_they_were_given():
    heard = heard_in(resnet(), pictures(side=33))
    blocks = [f"layer{k}.{i}" for k in range(1, 5) for i in range(2)]
    names = [f"{block}{made} > relu" for block in blocks for made in (".bn1", " (sum)")]
    assert list(heard) == ["bn1 > relu", *names]
    assert {each.kind for name, each in heard.items() if "bn1" in name} == {"batchnorm"}
    assert {each.kind for name, each in heard.items() if "sum" in name} == {"sum"}
    assert heard["layer2.1 (sum) > relu"].producer == "layer2.1"


def test_what_is_heard_is_bitwise_what_storing_every_output_gives():
    model, x, stored = resnet(), pictures(side=33), []
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    assert all(relu.inplace for relu in relus)
    for relu in relus:
        relu.register_forward_hook(lambda *call: stored.append(call[2].clone()))
    with torch.no_grad():
        plain = model(x)
        stored.clear()
        with activations(model, BATCH) as heard:
            assert torch.equal(model(x), plain)
    for activation, output in zip(heard.values(), stored, strict=True):
        assert torch.equal(activation.highest, output.flatten(2).max(2).values)
        assert torch.equal(activation.lowest, output.flatten(2).min(2).values)


@pytest.mark.parametrize(
    "relu",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu,
        partial(F.relu, inplace=True),
        torch.relu,
        torch.relu_,
        Tensor.relu,
        Tensor.relu_,
        torch.ops.aten.relu.default,
    ],
)
def test_every_way_to_call_relu_is_heard_once(relu):
    model = Model(lambda own, x: relu(own.conv(x)), conv=nn.Conv2d(3, 5, 3))
    name, activation = only(heard_in(model, pictures()))
    assert name == "conv > relu"
    assert (activation.function, activation.rectifies) == ("relu", True)
    assert activation.highest.shape == (BATCH, 5)
    assert activation.lowest.min() == 0 < activation.highest.max()


@pytest.mark.parametrize(
    ("capped", "function"),
    [
        (nn.ReLU6(), "relu6"),
        (F.relu6, "relu6"),
        (partial(F.hardtanh, min_val=0.0, max_val=6.0), "relu6"),
        (partial(F.hardtanh, min_val=0.0, max_val=2.0), "hardtanh"),
    ],
)
def test_a_relu_with_a_cap_is_a_relu(capped, function):
    model = Model(lambda own, x: capped(own.conv(x) * 99), conv=nn.Conv2d(3, 5, 3))
    name, activation = only(heard_in(model, pictures()))
    assert name == f"(mul) > {function}"
    assert activation.rectifies
    assert activation.highest.max() == (2 if function == "hardtanh" else 6)


SMOOTH = (nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Mish)


@pytest.mark.parametrize("kind", [*SMOOTH, nn.Softplus, nn.Hardswish])
def test_functions_that_give_no_exact_zeros_are_heard_and_marked(kind):
    model = nn.Sequential(nn.Conv2d(3, 5, 3), kind())
    name, activation = only(heard_in(model, pictures()))
    spelled = {"leakyrelu": "leaky_relu"}.get(kind.__name__.lower(), kind.__name__.lower())
    assert name == f"0 > {spelled}"
    assert not activation.rectifies


@pytest.mark.parametrize("other", [torch.tanh, torch.sigmoid, nn.Softmax(1), F.hardtanh])
def test_other_functions_are_not_activations(other):
    assert heard_in(Model(lambda own, x: other(x)), pictures()) == {}


def test_rows_that_belong_to_one_example_are_joined():
    frames = torch.randn(BATCH, 3, 2, 5, 5)
    model = Model(lambda own, x: own.conv(x.flatten(0, 1)).relu(), conv=nn.Conv2d(2, 3, 3))
    _, activation = only(heard_in(model, frames))
    assert activation.highest.shape == (BATCH * 3, 3)
    joined = by_example(activation, BATCH)
    with torch.no_grad():
        output = model(frames).unflatten(0, (BATCH, 3)).transpose(1, 2).flatten(2)
    assert torch.equal(joined.highest, output.amax(2))
    assert torch.equal(joined.lowest, output.amin(2))


def test_rows_that_no_example_can_claim_stay():
    _, activation = only(heard_in(nn.Sequential(nn.Linear(6, 7), nn.ReLU()), torch.randn(6, 6)))
    assert by_example(activation, BATCH) is activation


def test_what_has_no_channels_or_hides_inside_a_transform_is_passed_over():
    def run(own, x):
        x.mean().relu()
        torch.vmap(torch.relu)(x)
        return x

    assert heard_in(Model(run), pictures()) == {}


def test_nothing_is_changed_and_nothing_kept():
    model, x, calls, outputs = resnet(), pictures(side=33), [], []
    model.layer1.register_forward_hook(lambda *_: calls.append("foreign"))
    for relu in (module for module in model.modules() if isinstance(module, nn.ReLU)):
        relu.register_forward_hook(lambda *call: outputs.append(weakref.ref(call[2])))
    with assert_passive(model):
        heard_in(model, x)
    assert calls == ["foreign"]
    gc.collect()
    assert len(outputs) == 17
    assert [output for output in outputs if output() is not None] == []


def test_a_forward_that_somebody_else_put_there_comes_back():
    model = Model(lambda own, x: own.conv(x).relu(), conv=nn.Conv2d(3, 3, 3))
    original = model.conv.forward
    with patched(model.conv, "forward", lambda x: original(x) * 0):
        before = vars(model.conv)["forward"]
        _, activation = only(heard_in(model, pictures()))
        assert vars(model.conv)["forward"] is before
    assert activation.highest.eq(0).all()


def test_an_error_half_way_leaves_nothing_behind():
    def run(own, x):
        own.bn(x).relu()
        raise OSError("half-way")

    model, x = Model(run, bn=nn.BatchNorm2d(3)).eval(), pictures()
    with assert_passive(model), pytest.raises(OSError, match="half-way"):
        heard_in(model, x)
    heard = heard_in(Model(lambda own, x: x.relu()), x)
    assert len(heard) == 1
    torch.relu(x)
    assert len(heard) == 1


@pytest.mark.parametrize("part", [False, True])
def test_compiled_models_are_heard_where_they_run_frozen(part):
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    inner = torch.compile(net, backend="eager")
    assert isinstance(inner, nn.Module)
    inner(pictures())
    model = nn.Sequential(inner, nn.Flatten()) if part else net
    with frozen(model), activations(model, BATCH) as heard:
        model(pictures()) if part else inner(pictures())
    assert list(heard) == ["0._orig_mod.1 > relu" if part else "1 > relu"]


def test_with_batch_statistics_layers_use_those_of_the_batch_and_keep_their_own():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()).eval()
    nn.init.constant_(model.get_parameter("0.bias"), 0.5)
    x = pictures() + 9
    with assert_passive(model):
        _, activation = only(heard_in(model, x, batch_statistics=True))
    scaled = (x - x.mean((0, 2, 3), keepdim=True)) / (
        x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5
    ).sqrt()
    torch.testing.assert_close(activation.highest, (scaled + 0.5).relu().amax((2, 3)))
    _, running = only(heard_in(model, x))
    assert (running.highest > activation.highest).all()


def test_a_batch_without_statistics_is_refused():
    model, x = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()).eval(), torch.randn(1, 3)
    with (
        assert_passive(model),
        pytest.raises(NotApplicableError, match="one value per channel has no statistics"),
        activations(model, 1, batch_statistics=True),
    ):
        model(x)


def test_of_a_place_at_its_floor_only_the_upper_ends_are_taken():
    model = Model(
        lambda own, x: own.conv(x).relu() + own.other(x).relu(),
        conv=nn.Conv2d(3, 5, 3),
        other=nn.Conv2d(3, 5, 3),
    )
    nn.init.constant_(model.get_submodule("conv").bias, 9.0)  # far from 0 everywhere
    x = pictures() / 9
    taken = heard_in(model, x)
    model.eval()
    with torch.no_grad(), activations(model, BATCH, peaks_only={"conv > relu"}) as heard:
        model(x)
    assert taken["conv > relu"].lowest.min() > 0
    assert heard["conv > relu"].lowest is None
    torch.testing.assert_close(heard["conv > relu"].highest, taken["conv > relu"].highest)
    torch.testing.assert_close(heard["other > relu"].lowest, taken["other > relu"].lowest)


def test_a_nan_is_told_of_a_place_at_its_floor_too():
    model, x = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).eval(), pictures()
    x[1, 0, 2, 2] = torch.nan
    with torch.no_grad(), activations(model, len(x), peaks_only={"0 > relu"}) as heard:
        model(x)
    _, looked_at = only(dict(heard))
    assert looked_at.highest.isnan().any(1).tolist() == [k == 1 for k in range(len(x))]


class Doubling(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        return output * 2 if func in (F.relu, torch.relu_) else output


def test_another_mode_inside_or_outside_acts_as_before():
    def within(own, x):
        with Doubling():
            return own.act(own.conv(x))

    for run in (within, lambda own, x: own.act(own.conv(x))):
        for act in (nn.ReLU(), nn.ReLU(inplace=True), nn.GELU()):
            model = Model(run, conv=nn.Conv2d(3, 5, 3), act=act).eval()
            x = pictures()
            with torch.no_grad(), Doubling():
                expected = model(x)
            with torch.no_grad(), Doubling(), activations(model, BATCH) as heard:
                output = model(x)
            assert torch.equal(output, expected)
            assert len(heard) == 1
            assert _len_torch_function_stack() == 0


def test_a_rectifier_is_heard_by_keyword_and_by_its_own_forward():
    model = Model(
        lambda own, x: own.act.forward(own.conv(input=x)) + own.act(input=own.conv(x)),
        conv=nn.Conv2d(3, 5, 3),
        act=nn.ReLU(),
    )
    heard = heard_in(model, pictures())
    assert list(heard) == ["conv > relu", "conv#1 > relu"]


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 5, 3), nn.ReLU(), nn.BatchNorm2d(4)])
def test_an_error_in_a_layer_leaves_no_listener_behind(layer):
    model = nn.Sequential(nn.Conv2d(3, 7, 1), layer)
    with pytest.raises((RuntimeError, TypeError)), activations(model, BATCH):
        layer(None if isinstance(layer, nn.ReLU) else pictures())
    assert _len_torch_function_stack() == 0
    assert all("forward" not in vars(each) for each in model.modules())


def test_a_layer_inside_a_function_counts_as_that_function():
    act = nn.ReLU()
    model = Model(lambda own, x: torch.vmap(own.conv)(x[:, None]).relu(), conv=nn.Conv2d(3, 5, 3))
    assert len(heard_in(model, pictures())) == 1
    model = Model(
        lambda own, x: checkpoint(own.act, own.conv(x), use_reentrant=False),
        conv=nn.Conv2d(3, 5, 3),
        act=act,
    )
    assert list(heard_in(model, pictures())) == ["conv > relu"]
