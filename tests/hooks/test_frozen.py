"""A frozen pass leaves a model, and the random state, exactly as they were."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.hooks.patches import patched
from imbalance_lens.hooks.taps import listening
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.testing import assert_passive


class Restless(nn.Module):
    """Changes its buffers in every way, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.net = nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 3)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("swapped", torch.zeros(2))
        self.register_buffer("hidden", torch.zeros(2))
        self.norm.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.swapped = self.swapped + 1
        self.hidden.data.add_(1)
        return self.net(self.drop(self.norm(x))) + torch.rand(3)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_different_afterwards(fails: bool) -> None:
    model = Restless()
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with assert_passive(model):
        try:
            with frozen(model):
                assert not model.drop.training
                model(torch.randn(4, 3))
                random.random()
                np.random.rand()  # noqa: NPY002
                if fails:
                    raise RuntimeError("half-way")
        except RuntimeError:
            assert fails
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
    assert model.drop.training
    assert not model.norm.training


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.net.weight.data.add_(1),
        lambda model: model.count.add_(1),
        lambda model: model.eval(),
        lambda model: torch.rand(1),
        lambda model: model.net.register_forward_hook(lambda *_: None),
        lambda model: setattr(model.net, "forward", model.net.forward),
        lambda model: model.net.weight.requires_grad_(False),
        lambda model: setattr(model, "swapped", model.swapped.clone()),
        lambda model: model.net(torch.ones(1, 3)).sum().backward(),
    ],
)
def test_the_helper_that_asserts_passivity_fails_when_it_should(change) -> None:
    model = Restless()
    with pytest.raises(AssertionError, match="The block changed"), assert_passive(model):
        change(model)


def test_gradients_are_off_inside_and_on_afterwards() -> None:
    model = nn.Linear(2, 2)
    with frozen(model):
        assert not model(torch.ones(1, 2)).requires_grad
    assert model(torch.ones(1, 2)).requires_grad


def test_a_patch_gives_back_what_somebody_else_had_put_there() -> None:
    model = nn.Linear(2, 2)
    foreign = model.forward
    model.forward = foreign
    with patched(model, "forward", lambda x: x * 0):
        assert model(torch.ones(1, 2)).abs().sum() == 0
    assert vars(model)["forward"] is foreign


def test_listening_removes_its_own_hooks_only_also_after_an_error() -> None:
    model, heard = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), []
    foreign = model[0].register_forward_hook(lambda *_: heard.append("foreign"))

    def run() -> None:
        with listening(model, lambda path, *_: heard.append(path)):
            model(torch.ones(1, 2))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        run()
    assert heard == ["foreign", "0", "1", ""]
    model(torch.ones(1, 2))
    assert heard[4:] == ["foreign"]
    foreign.remove()


def test_wrappers_are_seen_through() -> None:
    model = nn.Linear(2, 2)
    assert unwrap(nn.DataParallel(torch.compile(nn.DataParallel(model), backend="eager"))) is model
