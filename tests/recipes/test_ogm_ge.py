"""OGM-GE at work: gradients scaled by exactly its factors, and noise of the right spread."""

import math
import warnings

import pytest
import torch

from imbalance_lens.errors import NoEffectWarning, NotIntendedUseWarning, SettingError
from recipes._base import Want
from recipes.none import JointTraining
from recipes.ogm_ge import COEFFICIENT, OgmGe
from tests.golden import NUMBERS

from .hand_made import (
    backward,
    batch_of,
    gradients,
    numbers,
    run_of,
    same,
    scores_of,
    seen_of,
    step,
    trained,
    weights,
)
from .test_ogm_ge_factors import slow_coefficient

AHEAD = scores_of(audio=3.0, visual=2.0)
EQUAL = scores_of(audio=3.0, visual=3.0)


def test_sgd_moves_an_encoder_by_exactly_its_factor():
    recipe = OgmGe(alpha=0.8, noise=False)
    plain, slowed = trained(JointTraining(), steps=1), trained(recipe, steps=1, scores=AHEAD)
    start = weights(run_of())
    factor = recipe.coefficients(AHEAD)["audio"].float()
    assert 0.5 < factor < 0.7
    for name in start:
        moved, before = slowed[name] - start[name], plain[name] - start[name]
        expected = factor * before if name.startswith("audio") else before
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"alpha": 0.0, "form": "cvpr"}])
def test_an_alpha_of_0_without_noise_is_bitwise_plain_training(settings):
    recipe = OgmGe(noise=False, **settings)
    assert same(trained(recipe, scores=AHEAD), trained(JointTraining()))


@pytest.mark.parametrize("apply_to", ["grad", "update"])
def test_equal_scores_without_noise_are_bitwise_plain_training(apply_to):
    recipe = OgmGe(noise=False, apply_to=apply_to)
    settings = {"momentum": 0.9, "weight_decay": 0.01}
    plain = trained(JointTraining(), **settings)
    assert same(trained(recipe, scores=EQUAL, **settings), plain)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_an_update_is_scaled_whatever_the_optimizer(optimizer):
    recipe = OgmGe(alpha=0.8, noise=False, apply_to="update")
    plain = trained(JointTraining(), optimizer, steps=1)
    slowed = trained(recipe, optimizer, steps=1, scores=AHEAD)
    start = weights(run_of())
    factor = recipe.coefficients(AHEAD)["audio"].float()
    for name in start:
        expected = (plain[name] - start[name]) * (factor if name.startswith("audio") else 1)
        torch.testing.assert_close(slowed[name] - start[name], expected, rtol=1e-4, atol=1e-7)


def test_an_update_that_was_left_out_stays_left_out():
    recipe, run = OgmGe(noise=False, apply_to="update"), run_of()
    before = weights(run)
    recipe.on_gradients(
        run, backward(recipe, run, *batch_of(run), scores_of(audio=math.nan, visual=1))
    )
    run.skipped = torch.tensor(True)
    recipe.on_step_end(run)
    assert same(weights(run), before)


def test_a_step_whose_end_never_came_is_not_made_up_for():
    recipe, run = OgmGe(noise=False, apply_to="update"), run_of()
    seen = backward(recipe, run, *batch_of(run), AHEAD)
    recipe.on_gradients(run, seen)  # an overflow: the optimizer is not called
    recipe.on_gradients(run, seen)
    with torch.no_grad():
        run.model.get_submodule("audio").weight.add_(1.0)
    before = run_of().model.get_submodule("audio").weight
    recipe.on_step_end(run)
    moved = run.model.get_submodule("audio").weight - before
    factor = recipe.coefficients(AHEAD)["audio"].float()
    torch.testing.assert_close(moved, factor.expand_as(moved), rtol=1e-4, atol=1e-5)


def test_noise_has_the_spread_of_the_unmodulated_gradient():
    golden = NUMBERS["ogm_ge"]
    run = run_of(["audio", "visual"])
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    run._own.update(audio=[weight], visual=[])
    ratio = math.atanh(0.5) + 1  # the factor is 1 - tanh(ratio - 1) = 0.5
    found = []
    for _ in range(4000):
        weight.grad = torch.tensor(golden["grad"])
        OgmGe(alpha=1.0).on_gradients(run, seen_of(scores_of(audio=ratio, visual=1.0)))
        found.append(weight.grad.clone())
    drawn = torch.stack(found)
    mean, error = torch.tensor(golden["mean of new grad"]), golden["noise std"] / math.sqrt(4000)
    assert (drawn.mean(0) - mean).abs().max() < 4 * error
    assert drawn.std(0).mean().item() == pytest.approx(golden["noise std"], rel=0.03)


def test_the_slow_twin_of_modulation_and_noise_gives_the_same_gradients():
    recipe, run = OgmGe(), run_of()
    seen = backward(recipe, run, *batch_of(run), AHEAD)
    draw = torch.Generator().manual_seed(0)  # as the run's own
    expected = []
    for name, k in slow_coefficient({"audio": 3.0, "visual": 2.0}, 0.8, "tpami").items():
        for gradient in gradients(run.parameters(name)):
            noise = torch.randn(gradient.shape, generator=draw)
            expected.append(k * gradient + noise * gradient.double().std().float())
    recipe.on_gradients(run, seen)
    found = [g for name in run.modalities for g in gradients(run.parameters(name))]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_only_the_modulated_get_noise_when_asked():
    run = run_of()
    seen = backward(JointTraining(), run, *batch_of(run), AHEAD)
    before = {name: gradients(run.parameters(name)) for name in run.modalities}
    OgmGe(alpha=0.5, only_modulated=True).on_gradients(run, seen)
    factor = OgmGe(alpha=0.5).coefficients(AHEAD)["audio"].float()
    after = {name: gradients(run.parameters(name)) for name in run.modalities}
    assert all(map(torch.equal, after["visual"], before["visual"]))
    pairs = zip(after["audio"], before["audio"], strict=True)
    assert not any(torch.allclose(new, factor * old) for new, old in pairs)


def test_the_head_keeps_its_gradients():
    recipe, run = OgmGe(), run_of()
    seen = backward(recipe, run, *batch_of(run), AHEAD)
    head = run.model.get_submodule("head")
    before = gradients(head.parameters())
    recipe.on_gradients(run, seen)
    assert all(map(torch.equal, gradients(head.parameters()), before))


def test_parameters_of_fewer_dimensions_are_left_alone():
    recipe, run = OgmGe(min_ndim=2), run_of()
    seen = backward(recipe, run, *batch_of(run), AHEAD)
    audio = run.model.get_submodule("audio")
    weight, bias = gradients(audio.parameters())
    recipe.on_gradients(run, seen)
    assert torch.equal(audio.bias.grad, bias)
    assert not torch.equal(audio.weight.grad, weight)


def test_frozen_parameters_and_missing_gradients_are_passed_by():
    recipe, run = OgmGe(), run_of()
    audio, visual = (run.model.get_submodule(name) for name in run.modalities)
    audio.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe.on_fit_start(run)
    seen = backward(recipe, run, *batch_of(run), AHEAD)
    visual.bias.grad = None
    recipe.on_gradients(run, seen)
    assert audio.weight.grad is None
    assert visual.bias.grad is None
    assert visual.weight.grad.isfinite().all()


def test_encoders_that_are_all_frozen_give_a_warning():
    run = run_of()
    for name in run.modalities:
        run.model.get_submodule(name).requires_grad_(False)
    with pytest.warns(NoEffectWarning, match="No encoder has trainable parameters"):
        OgmGe().on_fit_start(run)


def test_the_factors_are_recorded():
    noted = []
    run = run_of(_record=lambda quantity, values: noted.append((quantity, values)))
    recipe = OgmGe(noise=False)
    recipe.on_gradients(run, backward(recipe, run, *batch_of(run), AHEAD))
    ((quantity, values),) = noted
    assert quantity is COEFFICIENT
    assert numbers(values) == numbers(recipe.coefficients(AHEAD))


@pytest.mark.parametrize(
    ("optimizer", "settings", "category"),
    [
        (torch.optim.AdamW, {"noise": False}, NoEffectWarning),
        (torch.optim.Adam, {"noise": True}, NotIntendedUseWarning),
        (torch.optim.RMSprop, {"noise": False}, NoEffectWarning),
    ],
)
def test_an_optimizer_that_cancels_the_factor_gives_one_warning(optimizer, settings, category):
    recipe, run = OgmGe(**settings), run_of()
    made = optimizer(run.model.parameters())
    with pytest.warns(category, match=r"Pass apply_to='update', or train with SGD"):
        step(recipe, run, made, AHEAD)
    step(recipe, run, made, AHEAD)


def test_other_optimizers_and_other_ways_give_no_warning():
    trained(OgmGe(), torch.optim.SGD, scores=AHEAD, momentum=0.9)
    trained(OgmGe(apply_to="update"), torch.optim.Adam, scores=AHEAD)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"alpha": -0.1}, "alpha must be 0 or more; got -0.1"),
        ({"form": "cvpr2022"}, "form='cvpr2022' is not known. Choose one of: 'tpami', 'cvpr'"),
        ({"z": "relu"}, "z='relu' is not known"),
        ({"ratio": "log"}, "ratio='log' is not known"),
        ({"apply_to": "loss"}, "apply_to='loss' is not known. Choose one of: 'grad', 'update'"),
        ({"star": "const"}, "star='const' is not known"),
        ({"star": 0.5}, "star must be 1 or more; got 0.5"),
        ({"star": 4, "form": "cvpr"}, "star=4 speeds up who is behind"),
        ({"form": "cvpr", "z": "sigmoid"}, "z='sigmoid' belongs to form='tpami'"),
        ({"min_ndim": -1}, "min_ndim must be a whole number, 0 or above"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint.replace("(", r"\(")):
        OgmGe(**settings)


def test_it_asks_for_scores_and_nothing_else():
    assert OgmGe().wants() == {Want.SCORES}
