"""Recipes in loops of one's own: scaled or not, fused or not, they do the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

import recipes
from imbalance_lens.errors import NotAttachedError, SettingError
from imbalance_lens.testing import assert_passive
from recipes.ogm_ge import OgmGe
from recipes.opm import Opm

from .trainings import Listening, loader_of, model_of, same, trained, weights_of


def by_hand(
    chosen: Any, *, scale: float | None = None, fused: bool = False, bad: int | None = None
) -> tuple[list[dict], dict, recipes.Treatment]:
    """Train an epoch; `bad` is the step whose loss is multiplied to infinity."""
    listener = Listening()
    model, loader = model_of(), list(loader_of())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
    scaler = GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    torch.manual_seed(3)
    with recipes.attach([*chosen, listener], model, loader[0][:2], seed=3) as remedy:
        for step, (*inputs, labels) in enumerate(loader):
            given, labels = remedy.batch(tuple(inputs), labels)
            optimizer.zero_grad()
            loss = remedy.loss(nn.functional.cross_entropy(model(*given), labels))
            scaler.scale(loss * float("inf") if step == bad else loss).backward()
            scaler.unscale_(optimizer)
            remedy.gradients(optimizer)
            scaler.step(optimizer)
            scaler.update()
        remedy.close_epoch()
    return listener.gradients, weights_of(model), remedy


@pytest.mark.parametrize("noise", [False, True])
def test_scaled_and_fused_steps_have_the_same_modulated_gradients(noise: bool) -> None:
    plain, weights, _ = by_hand([OgmGe(noise=noise)])
    for scale, fused in ((1024.0, False), (None, True), (1024.0, True)):
        gradients, others, _ = by_hand([OgmGe(noise=noise)], scale=scale, fused=fused)
        for one, other in zip(plain, gradients, strict=True):
            for name, gradient in one.items():
                torch.testing.assert_close(other[name], gradient, rtol=1e-5, atol=1e-6)
        for name, tensor in weights.items():
            torch.testing.assert_close(others[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_an_overflow_leaves_the_state_of_recipes_untouched(fused: bool) -> None:
    ratios = {}
    for bad in (None, 2):
        lagging = Opm(lag=1)
        *_, remedy = by_hand([lagging], scale=1024.0, fused=fused, bad=bad)
        ratios[bad] = lagging.state_dict()["ratios"]
        assert remedy.history.dataset({}).sizes["step"] == 3
    two = Opm(lag=1)
    short, loader = model_of(), list(loader_of())[:2]
    optimizer = torch.optim.SGD(short.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(3)
    with recipes.attach(two, short, loader[0][:2], seed=3) as remedy:
        for *inputs, labels in loader:
            given, labels = remedy.batch(tuple(inputs), labels)
            optimizer.zero_grad()
            remedy.loss(nn.functional.cross_entropy(short(*given), labels)).backward()
            remedy.gradients(optimizer)
            optimizer.step()
    for name, ratio in two.state_dict()["ratios"].items():
        assert float(ratios[2][name]) == pytest.approx(float(ratio), rel=1e-5)
        assert float(ratios[None][name]) != pytest.approx(float(ratio), rel=1e-5)


@pytest.mark.parametrize("chosen", ["ogm_ge", "opm", ["opm", "ogm_ge"]])
def test_a_loop_of_ones_own_makes_the_same_weights(chosen: Any) -> None:
    names = [chosen] if isinstance(chosen, str) else chosen
    _, weights, _ = by_hand([recipes.get(name)() for name in names])
    bundled = trained([*(recipes.get(n)() for n in names), Listening()], loader=list(loader_of()))
    assert same(weights, bundled)


def test_neutral_parts_of_a_composition_leave_the_other_as_it_is() -> None:
    both = by_hand([Opm(q_base=0.0), OgmGe()])[1]
    assert same(both, by_hand([OgmGe()])[1])
    both = by_hand([Opm(), OgmGe(alpha=0.0, noise=False)])[1]
    assert same(both, by_hand([Opm()])[1])


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("name", ["multi_loss", "ogm_ge", "opm", "mlb"])
@pytest.mark.parametrize("part", ["audio", "visual", "head"])
def test_an_error_in_the_middle_of_a_forward_leaves_nothing(name: str, part: str) -> None:
    model, (audio, visual, labels) = model_of(), next(iter(loader_of()))

    def breaking(*_: Any) -> None:
        raise BrokenError

    def train() -> None:
        with recipes.attach(name, model, (audio, visual), seed=0) as remedy:
            remedy.batch((audio, visual), labels)
            with broken(model.get_submodule(part)):
                model(audio, visual)

    @contextmanager
    def broken(module: nn.Module) -> Iterator[None]:
        handle = module.register_forward_pre_hook(breaking)
        try:
            yield
        finally:
            handle.remove()

    with assert_passive(model), torch.random.fork_rng(), pytest.raises(BrokenError):
        train()


def test_calls_that_are_missing_are_told_of() -> None:
    model, (audio, visual, labels) = model_of(), next(iter(loader_of()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    remedy = recipes.attach("ogm_ge", model, (audio, visual))
    with remedy:
        with pytest.raises(NotAttachedError, match="No training pass was seen"):
            remedy.loss(torch.ones(()))
        remedy.batch((audio, visual), labels)
        remedy.loss(nn.functional.cross_entropy(model(audio, visual), labels)).backward()
        remedy.gradients(optimizer)
        with pytest.raises(NotAttachedError, match=r"Call remedy\.loss"):
            remedy.gradients(optimizer)
    with pytest.raises(NotAttachedError, match="Attach them anew"), remedy:
        pass
    opm = recipes.attach("opm", model, (audio, visual))
    with opm, pytest.raises(NotAttachedError, match=r"remedy\.batch"):
        model(audio, visual)


def test_gradients_out_of_turn_leave_no_step_behind() -> None:
    model = model_of()
    *inputs, labels = next(iter(loader_of()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with recipes.attach("ogm_ge", model, tuple(inputs), seed=3) as remedy:
        given, labels = remedy.batch(tuple(inputs), labels)
        remedy.loss(nn.functional.cross_entropy(model(*given), labels)).backward()
        remedy.gradients(optimizer)
        with pytest.raises(NotAttachedError, match="Call remedy"):
            remedy.gradients(optimizer)
        optimizer.step()
    assert remedy.run.step == 1
    assert remedy.history.dataset({}).sizes["step"] == 1


def test_an_optimizer_without_the_heads_is_refused() -> None:
    model = model_of()
    *inputs, labels = next(iter(loader_of()))
    with recipes.attach("mlb", model, tuple(inputs), seed=3) as remedy:
        given, labels = remedy.batch(tuple(inputs), labels)
        remedy.loss(nn.functional.cross_entropy(model(*given), labels)).backward()
        with pytest.raises(SettingError, match="parameters of the unimodal heads"):
            remedy.gradients(torch.optim.SGD(model.parameters(), lr=0.1))
        remedy.gradients(torch.optim.SGD([*model.parameters(), *remedy.parameters()], lr=0.1))
