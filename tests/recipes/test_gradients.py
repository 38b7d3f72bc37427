"""Scaling, noise and updates: the appliers that recipes share."""

import socket
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from imbalance_lens.errors import NotIntendedUseWarning, SettingError
from recipes._base import Run
from recipes._gradients import (
    Modulation,
    add_noise_,
    cancels_scale,
    look_for_parameters,
    modulate_,
    spreads,
)

from .hand_made import run_of


def with_gradient(gradient: torch.Tensor) -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros(gradient.shape, dtype=gradient.dtype))
    parameter.grad = gradient.clone()
    return parameter


@pytest.fixture
def one_rank() -> Iterator[None]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = torch.distributed.TCPStore("127.0.0.1", port, 1, is_master=True)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradients_of_any_precision_are_scaled_and_keep_it(dtype):
    parameter = with_gradient(torch.tensor([1.0, -2.0], dtype=dtype))
    modulate_([parameter], torch.tensor(0.5))
    assert parameter.grad is not None
    assert parameter.grad.dtype == dtype
    assert parameter.grad.tolist() == [0.5, -1.0]


def test_precisions_may_be_mixed_and_gradients_missing():
    parameters = [
        with_gradient(torch.ones(2)),
        nn.Parameter(torch.ones(1)),
        with_gradient(torch.ones(3, dtype=torch.bfloat16)),
        with_gradient(torch.ones(())),
    ]
    modulate_(parameters, torch.tensor(0.25))
    assert [None if p.grad is None else p.grad.sum().item() for p in parameters] == [
        0.5,
        None,
        0.75,
        0.25,
    ]
    modulate_([], torch.tensor(0.25))


def test_a_factor_of_1_keeps_every_bit():
    odd = torch.tensor([0.0, -0.0, 1e-45, -3e38, float("inf"), float("nan")])
    parameter = with_gradient(odd)
    modulate_([parameter], torch.tensor(1.0))
    assert parameter.grad is not None
    assert torch.equal(parameter.grad.view(torch.int32), odd.view(torch.int32))


def test_sparse_gradients_are_scaled_and_get_no_noise():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 3])).sum().backward()
    assert spreads(table.parameters()) == []
    modulate_(table.parameters(), torch.tensor(0.5))
    add_noise_(table.parameters(), [], torch.Generator())
    assert table.weight.grad is not None
    assert table.weight.grad.is_sparse
    with torch.sparse.check_sparse_tensor_invariants(False):
        assert table.weight.grad.to_dense().sum() == 2


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
def test_the_spread_survives_a_large_mean(offset):
    draw = torch.Generator().manual_seed(0)
    gradient = torch.randn(64, 33, generator=draw).double() + offset
    (found,) = spreads([with_gradient(gradient.float())])
    assert found.item() == pytest.approx(gradient.float().double().std().item(), rel=1e-3)


def test_the_spread_of_half_precision_is_computed_in_single():
    gradient = torch.full((1000,), 300.0).half()  # whose squares are no half-precision numbers
    gradient[::2] = -300
    (found,) = spreads([with_gradient(gradient)])
    assert found.item() == pytest.approx(300.15, abs=0.01)


def test_gradients_of_a_single_entry_have_no_spread_and_get_no_noise():
    lone = [
        with_gradient(torch.ones(1)),
        with_gradient(torch.ones(())),
        with_gradient(torch.ones(0)),
    ]
    assert spreads(lone) == []
    add_noise_(lone, [], torch.Generator())
    assert [p.grad.tolist() for p in lone if p.grad is not None] == [[1.0], 1.0, []]


def test_equal_generators_give_equal_noise():
    found = []
    for _ in range(2):
        parameter = with_gradient(torch.zeros(50))
        add_noise_([parameter], [torch.tensor(2.0)], torch.Generator().manual_seed(3))
        assert parameter.grad is not None
        found.append(parameter.grad)
    assert torch.equal(*found)
    assert 1 < found[0].std() < 3


def test_noise_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    add_noise_([with_gradient(torch.zeros(50))], [torch.tensor(2.0)], torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("optimizer", "cancels"),
    [
        (torch.optim.SGD, False),
        (torch.optim.ASGD, False),
        (torch.optim.Adadelta, True),
        (torch.optim.Adafactor, True),
        (torch.optim.Adagrad, True),
        (torch.optim.Adam, True),
        (torch.optim.AdamW, True),
        (torch.optim.Adamax, True),
        (torch.optim.Muon, True),
        (torch.optim.NAdam, True),
        (torch.optim.RAdam, True),
        (torch.optim.RMSprop, True),
        (torch.optim.Rprop, True),
    ],
)
def test_who_cancels_a_constant_scale_is_known(optimizer, cancels):
    """Measured: the same training with all gradients times 0.3."""
    ends = []
    for factor in (1.0, 0.3):
        weight = nn.Parameter(torch.eye(3))
        made = optimizer([weight], lr=0.01)
        draw = torch.Generator().manual_seed(0)
        for _ in range(200):  # RAdam begins as SGD
            weight.grad = factor * (torch.randn(3, 3, generator=draw) + 1)
            made.step()
        ends.append((weight.detach() - torch.eye(3)).norm())
    assert bool(ends[1] > 0.8 * ends[0]) is cancels
    assert cancels_scale(made) is cancels


def test_of_other_optimizers_nothing_is_said():
    class Own(torch.optim.Optimizer):
        def __init__(self, parameters) -> None:
            super().__init__(parameters, {})

    assert not cancels_scale(Own([nn.Parameter(torch.ones(1))]))
    assert not cancels_scale(None)


def test_a_layer_that_encoders_share_is_left_out_and_said():
    run = run_of()
    run.anatomy = run.anatomy.__class__(encoders=run.anatomy.encoders, shared=("trunk",))
    with pytest.warns(NotIntendedUseWarning, match=r"shared or tied: trunk\. 'x' scales only"):
        look_for_parameters(run, "x")


def tie(run: Run) -> nn.Parameter:
    """Give all encoders the weight of the first one."""
    first, *others = (run.model.get_submodule(name) for name in run.modalities)
    weight = first.get_parameter("weight")
    for encoder in others:
        encoder.register_parameter("weight", weight)
    return weight


def test_weights_that_encoders_share_are_left_out_and_named():
    run = run_of()
    tie(run)
    with pytest.warns(
        NotIntendedUseWarning, match=r"shared or tied: audio\.weight, visual\.weight\. 'x'"
    ):
        look_for_parameters(run, "x")
    many = run_of([f"m{k}" for k in range(6)])
    tie(many)
    with pytest.warns(NotIntendedUseWarning, match=r"m0\.weight, .*, m3\.weight and 2 more\. 'x'"):
        look_for_parameters(many, "x")


def test_frozen_weights_that_are_tied_are_no_news():
    run = run_of()
    tie(run).requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look_for_parameters(run, "x")


def test_a_usual_model_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look_for_parameters(run_of(), "x")


def test_columns_are_scaled_alone_in_both_ways():
    run = run_of()
    weight = with_gradient(torch.ones(2, 4))
    modulation = Modulation("grad")
    modulation.begin(run, "x")
    modulation.scale([weight], torch.tensor(0.5), slice(1, 3))
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1, 0.5, 0.5, 1]] * 2
    modulation = Modulation("update")
    modulation.begin(run, "x")
    modulation.scale([weight], torch.tensor(0.5), slice(1, 3))
    with torch.no_grad():
        weight += 1
    modulation.finish(run)
    assert weight.tolist() == [[1, 0.5, 0.5, 1]] * 2


def test_an_update_may_be_made_larger():
    run, weight = run_of(), nn.Parameter(torch.ones(2))
    modulation = Modulation("update")
    modulation.scale([weight], torch.tensor(4.0))
    with torch.no_grad():
        weight += 0.25
    modulation.finish(run)
    assert weight.tolist() == [2, 2]


@pytest.mark.filterwarnings("ignore")
def test_gradients_spread_over_ranks_are_scaled_but_refused_for_noise(one_rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (1,))
    parameter = nn.Parameter(distribute_tensor(torch.ones(4, 2), mesh, [Shard(0)]))
    (parameter * 2).sum().backward()
    modulate_([parameter], torch.tensor(0.25))
    assert isinstance(parameter.grad, DTensor)
    assert parameter.grad.to_local().tolist() == [[0.5, 0.5]] * 4
    modulation = Modulation("update")
    modulation.scale([parameter], torch.tensor(0.25))
    with torch.no_grad():
        parameter += 1
    modulation.finish(run_of())
    assert parameter.to_local().tolist() == [[1.25, 1.25]] * 4
    with pytest.raises(SettingError, match=r"spread over ranks .* Pass noise=False"):
        spreads([parameter])
