"""OGM-GE: factors from the paper, gradients scaled by exactly these, noise of the right spread."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import NoEffectWarning, NotIntendedUseWarning, SettingError
from imbalance_lens.formulas import discrepancy_ratio
from recipes._base import Want
from recipes.none import JointTraining
from recipes.ogm_ge import COEFFICIENT, OgmGe, coefficient, difference, ogm_star
from tests.golden import NUMBERS

from .hand_made import (
    backward,
    batch_of,
    gradients,
    run_of,
    same,
    scores_of,
    seen_of,
    step,
    trained,
    weights,
)

AHEAD = scores_of(audio=3.0, visual=2.0)
EQUAL = scores_of(audio=3.0, visual=3.0)
many_scores = st.dictionaries(
    st.sampled_from(["audio", "visual", "text", "depth", "flow"]),
    st.floats(1e-3, 1e3),
    min_size=2,
)
alphas = st.floats(0, 3)


def numbers(found):
    return [value.item() for value in found.values()]


def golden_ratios(card):
    return {str(m): torch.tensor(r) for m, r in enumerate(NUMBERS[card]["rho"])}


def slow_coefficient(scores, alpha, form):
    """Eq. 7 and 11 of the paper, and the line of the conference code, one number at a time."""
    found = {}
    for m, own in scores.items():
        others = [s for j, s in scores.items() if j != m]
        rho = sum(own / s for s in others) / len(others)
        if rho <= 1:
            found[m] = 1.0
        elif form == "tpami":
            found[m] = max(0.0, 1 - alpha * math.tanh(rho - 1))
        else:
            found[m] = 1 - math.tanh(alpha * rho)
    return found


@pytest.mark.parametrize("card", ["ogm_M2", "ogm_M3"])
@pytest.mark.parametrize("form", ["tpami", "cvpr"])
def test_coefficients_are_the_golden_ones(card, form):
    key = next(
        k for k in NUMBERS[card] if k.startswith("k ") and ("paper" in k) == (form == "tpami")
    )
    found = coefficient(golden_ratios(card), 0.8, form)
    assert numbers(found) == pytest.approx(NUMBERS[card][key], abs=2e-5)


def test_limits_are_the_golden_ones():
    limits = NUMBERS["ogm_limits"]
    just = {"a": torch.tensor(1 + 1e-7, dtype=torch.float64)}
    half = {"a": torch.tensor(1.5, dtype=torch.float64)}
    found = [
        coefficient(just, 0.8)["a"],
        coefficient(just, 0.8, "cvpr")["a"],
        coefficient(half, 0.8)["a"],
        coefficient(half, 0.8, "cvpr")["a"],
        coefficient({"a": torch.tensor(3.0)}, 2.0)["a"],
    ]
    assert [k.item() for k in found] == pytest.approx(list(limits.values()), abs=1e-6)


def test_the_forms_for_the_weaker_are_the_golden_ones():
    golden = NUMBERS["ogm_star"]
    two = {"a": torch.tensor(1.5), "v": torch.tensor(2 / 3)}
    assert numbers(ogm_star(two, 0.8, constant=4)) == golden["M2 rho=(1.5,.6667) const4"]
    assert numbers(ogm_star(two, 0.8))[1] == pytest.approx(
        golden["ours 1+a*tanh(1/rho-1), a=.8, rho=2/3"], abs=1e-6
    )
    three = ogm_star(golden_ratios("ogm_M3"), 0.8)
    assert numbers(three) == pytest.approx(golden["M3 (S=3,2,1)"], abs=1e-5)


def test_differences_are_the_golden_ones():
    found = difference(scores_of(a=3.0, b=2.0, c=1.0))
    assert numbers(found) == NUMBERS["ogm_M3"]["diff-variant rho"]


def test_the_sigmoid_variant_is_one_minus_alpha_times_a_sigmoid():
    found = coefficient({"a": torch.tensor(2.0), "b": torch.tensor(0.5)}, 0.5, z="sigmoid")
    assert numbers(found) == pytest.approx([1 - 0.5 / (1 + math.exp(-2)), 1.0])


@given(many_scores, alphas, st.sampled_from(["tpami", "cvpr"]))
def test_coefficients_are_those_of_the_slow_twin(scores, alpha, form):
    found = coefficient(discrepancy_ratio(scores_of(**scores)), alpha, form)
    twin = slow_coefficient(scores, alpha, form)
    # Where the ratio is 1 but for rounding, the conference form jumps.
    clear = [m for m, r in discrepancy_ratio(scores_of(**scores)).items() if abs(r - 1) > 1e-12]
    assert {m: found[m].item() for m in clear} == pytest.approx(
        {m: twin[m] for m in clear}, rel=1e-9, abs=1e-12
    )


@given(many_scores, alphas, st.sampled_from(["tpami", "cvpr"]))
def test_a_factor_is_between_0_and_1_and_the_weakest_is_never_slowed(scores, alpha, form):
    found = coefficient(discrepancy_ratio(scores_of(**scores)), alpha, form)
    assert all(0 <= k <= 1 for k in found.values())
    assert found[min(scores, key=lambda name: scores[name])] == 1


@given(st.floats(1e-3, 1e3), st.integers(2, 6), alphas)
def test_equal_scores_slow_and_speed_up_nobody(score, count, alpha):
    scores = {str(m): torch.tensor(score) for m in range(count)}
    for star in (None, "tanh", 4):
        assert all(k == 1 for k in OgmGe(alpha=alpha, star=star).coefficients(scores).values())
    assert all(k == 1 for k in OgmGe(alpha=alpha, form="cvpr").coefficients(scores).values())


@given(st.floats(1, 50), st.floats(1, 50), alphas, st.sampled_from(["tpami", "cvpr"]))
def test_a_larger_lead_is_slowed_at_least_as_much(one, other, alpha, form):
    less, more = sorted([one, other])
    ratios = {"less": torch.tensor(less).double(), "more": torch.tensor(more).double()}
    found = coefficient(ratios, alpha, form)
    if less > 1:
        assert found["more"] <= found["less"]


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_of_two_modalities_at_most_one_is_slowed(one, two):
    found = OgmGe().coefficients(scores_of(a=one, b=two))
    assert max(numbers(found)) == 1


def test_a_silent_modality_gives_finite_factors():
    for settings in ({}, {"form": "cvpr"}, {"star": "tanh"}, {"ratio": "difference"}):
        for scores in (scores_of(a=0.0, b=5.0), scores_of(a=0.0, b=0.0)):
            assert all(k.isfinite() for k in OgmGe(**settings).coefficients(scores).values())
    assert all(k == 1 for k in OgmGe().coefficients(scores_of(a=0.0, b=0.0)).values())


@pytest.mark.parametrize("settings", [{}, {"form": "cvpr"}, {"star": "tanh"}, {"star": 4}])
def test_a_score_of_nan_is_not_hidden(settings):
    found = OgmGe(**settings).coefficients(scores_of(a=math.nan, b=1.0))
    assert all(k.isnan() for k in found.values())


def test_an_infinite_ratio_gives_the_limit():
    ratios = {"a": torch.tensor(math.inf)}
    assert coefficient(ratios, 0.5)["a"] == 0.5
    assert coefficient(ratios, 0.0)["a"] == 1
    assert ogm_star({"a": torch.tensor(0.0)}, 0.5)["a"] == 1.5


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
        ({"min_ndim": -1}, "min_ndim must be 0 or more"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint.replace("(", r"\(")):
        OgmGe(**settings)


def test_it_asks_for_scores_and_nothing_else():
    assert OgmGe().wants() == {Want.SCORES}
