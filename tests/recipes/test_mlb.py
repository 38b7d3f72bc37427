"""MLB: factors from the paper, on encoders and on what else is asked for, and Multi-Loss below."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import NoEffectWarning, NotApplicableError, SettingError
from recipes._base import Want
from recipes.mlb import COEFFICIENT, Mlb, coefficient, relative_lag
from recipes.multi_loss import MultiLoss
from tests.golden import NUMBERS

from .hand_made import (
    backward,
    batch_of,
    gradients,
    numbers,
    run_of,
    same,
    scores_of,
    step,
    trained,
    weights,
)

GOLDEN = NUMBERS["mlb"]
AHEAD = scores_of(audio=0.6, visual=0.3)
EQUAL = scores_of(audio=0.3, visual=0.3)
many_scores = st.dictionaries(
    st.sampled_from(["audio", "visual", "text", "depth", "flow"]),
    st.floats(1e-2, 1e2),
    min_size=2,
)
alphas, betas = st.floats(0, 3), st.floats(1, 20)


def slow_coefficient(scores, alpha, beta_max):
    """Eq. 5 to 7 of the paper, one number at a time."""
    found = {}
    for m, own in scores.items():
        others = [s for j, s in scores.items() if j != m]
        r = (sum(others) / len(others)) / own
        beta = beta_max if r > 1 else 2
        found[m] = 1 + (beta - 1) * math.tanh(alpha * (r - 1))
    return found


def test_coefficients_are_the_golden_ones():
    two, three = GOLDEN["S=(.6,.3),a=.5,bmax=10"], GOLDEN["S=(3,2,1),a=1,bmax=2"]
    assert numbers(relative_lag(AHEAD)) == pytest.approx(two["r"])
    assert numbers(coefficient(AHEAD, 0.5, 10)) == pytest.approx(two["k"], abs=1e-6)
    many = scores_of(a=3.0, b=2.0, c=1.0)
    assert numbers(relative_lag(many)) == pytest.approx(three["r"])
    assert numbers(coefficient(many, 1, 2)) == pytest.approx(three["k"], abs=1e-6)
    assert numbers(coefficient(EQUAL, 0.5, 10)) == GOLDEN["equal"]
    flat = coefficient(AHEAD, 0.5, 1)
    assert numbers(flat) == pytest.approx(GOLDEN["bmax=1: (.6,.3),a=.5"], abs=1e-6)


@pytest.mark.parametrize(
    ("alpha", "key", "close"), [(0.5, "lower limit r->0, a=.5", 1e-6), (5, "a=5 lower", 1e-6)]
)
def test_the_lower_limits_are_the_golden_ones(alpha, key, close):
    far = coefficient(scores_of(a=1e9, b=1.0), alpha, 10)
    assert far["a"].item() == pytest.approx(GOLDEN[key], abs=close)
    assert coefficient(scores_of(a=1e9, b=1.0), alpha, 10, k_min=0.7)["a"] == 0.7


@given(many_scores, alphas, betas)
def test_coefficients_are_those_of_the_slow_twin(scores, alpha, beta_max):
    found = coefficient(scores_of(**scores), alpha, beta_max)
    twin = slow_coefficient(scores, alpha, beta_max)
    assert numbers(found) == pytest.approx(list(twin.values()), rel=1e-9, abs=1e-12)


@given(many_scores, alphas, betas)
def test_the_strongest_is_never_sped_up_and_the_weakest_never_slowed(scores, alpha, beta_max):
    found = coefficient(scores_of(**scores), alpha, beta_max)
    assert found[max(scores, key=lambda name: scores[name])] <= 1
    assert found[min(scores, key=lambda name: scores[name])] >= 1
    assert all(0 <= k <= beta_max for k in found.values())


@given(many_scores, alphas, betas)
def test_small_errors_are_what_large_scores_are(scores, alpha, beta_max):
    turned = {name: 1 / score for name, score in scores.items()}
    found = coefficient(scores_of(**turned), alpha, beta_max, errors=True)
    for m, error in turned.items():
        others = [e for j, e in turned.items() if j != m]
        r = error / (sum(others) / len(others))
        beta = beta_max if r > 1 else 2
        expected = 1 + (beta - 1) * math.tanh(alpha * (r - 1))
        assert found[m].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.floats(1e-3, 1e3), st.integers(2, 8), alphas, betas, st.booleans())
def test_equal_scores_give_exactly_1(score, count, alpha, beta_max, errors):
    scores = {str(m): torch.tensor(score) for m in range(count)}
    assert all(k == 1 for k in coefficient(scores, alpha, beta_max, errors=errors).values())


def test_silent_modalities_give_finite_factors_and_nan_is_not_hidden():
    assert numbers(coefficient(scores_of(a=0.0, b=5.0), 0.5, 10)) == pytest.approx([10, 0.537883])
    assert numbers(coefficient(scores_of(a=0.0, b=0.0), 0.5, 10)) == [1, 1]
    assert all(k.isfinite() for k in coefficient(scores_of(a=0.0, b=0.0), 0.0, 10).values())
    assert all(k.isnan() for k in coefficient(scores_of(a=math.nan, b=1.0), 0.5, 10).values())


@pytest.mark.parametrize("apply_to", ["grad", "update"])
@pytest.mark.parametrize("whole", [False, True])
def test_equal_scores_are_bitwise_multi_loss(apply_to, whole):
    recipe = Mlb(apply_to=apply_to, include_head=whole, include_fusion_slice=whole)
    settings = {"momentum": 0.9, "weight_decay": 0.01, "modalities": ["audio", "visual", "text"]}
    equal = scores_of(audio=0.3, visual=0.3, text=0.3)
    assert same(trained(recipe, scores=equal, **settings), trained(MultiLoss(), **settings))


def test_an_alpha_of_0_is_bitwise_multi_loss():
    assert same(trained(Mlb(alpha=0.0), scores=AHEAD), trained(MultiLoss()))


@pytest.mark.parametrize("apply_to", ["grad", "update"])
@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_sgd_moves_what_is_paced_by_exactly_its_factor(apply_to, head, columns):
    recipe = Mlb(apply_to=apply_to, include_head=head, include_fusion_slice=columns)
    plain, paced = trained(MultiLoss(), steps=1), trained(recipe, steps=1, scores=AHEAD)
    start = trained(MultiLoss(), steps=0)
    factors = {name: k.float() for name, k in coefficient(AHEAD, 0.5, 10).items()}
    for name in start.keys() - {"random state"}:
        expected = plain[name] - start[name]
        if name.split(".")[0] in factors:
            expected = expected * factors[name.split(".")[0]]
        if head and name.startswith("heads."):
            expected = expected * list(factors.values())[int(name.split(".")[2])]
        if columns and name == "head.weight":
            expected = torch.cat(
                [part * k for part, k in zip(expected.split(4, 1), factors.values(), strict=True)],
                1,
            )
        torch.testing.assert_close(paced[name] - start[name], expected, rtol=1e-4, atol=1e-6)


def test_a_model_without_such_a_layer_has_no_slice():
    recipe, run = Mlb(include_fusion_slice=True), run_of(fusion=None)
    seen = backward(recipe, run, *batch_of(run), AHEAD)
    with pytest.raises(NotApplicableError, match="include_fusion_slice=True needs a linear layer"):
        recipe.on_gradients(run, seen)


def test_numbers_to_predict_are_compared_by_their_errors():
    noted = []
    run = run_of(regression=True, _record=lambda quantity, values: noted.append((quantity, values)))
    recipe = Mlb()
    recipe.on_gradients(run, backward(recipe, run, *batch_of(run), AHEAD))
    ((quantity, values),) = noted
    assert quantity is COEFFICIENT
    assert numbers(values) == numbers(coefficient(AHEAD, 0.5, 10, errors=True))
    assert values["audio"] > 1 > values["visual"]


def test_adam_gives_a_warning_and_its_updates_none():
    run = run_of()
    with pytest.warns(NoEffectWarning, match=r"'mlb' scales gradients, and AdamW divides them"):
        step(Mlb(), run, torch.optim.AdamW(run.model.parameters()), AHEAD)
    trained(Mlb(apply_to="update"), torch.optim.AdamW, scores=AHEAD)


def test_frozen_encoders_give_a_warning():
    run = run_of()
    run.model.requires_grad_(False)
    with pytest.warns(NoEffectWarning, match="'mlb' changes no encoder"):
        Mlb().on_fit_start(run)


def test_the_joint_head_keeps_its_gradients():
    recipe, run = Mlb(), run_of()
    seen = backward(recipe, run, *batch_of(run), AHEAD)
    before = gradients(run.model.get_submodule("head").parameters())
    recipe.on_gradients(run, seen)
    after = gradients(run.model.get_submodule("head").parameters())
    assert all(map(torch.equal, after, before))


def test_a_step_that_was_left_out_changes_nothing():
    recipe, run = Mlb(apply_to="update"), run_of()
    before = weights(run)
    recipe.on_gradients(run, backward(recipe, run, *batch_of(run), AHEAD))
    run.skipped = torch.tensor(True)
    recipe.on_step_end(run)
    assert same(weights(run), before)


def test_it_asks_for_the_scores_of_heads():
    assert Mlb().wants() == {Want.HEADS, Want.SCORES, Want.HEAD_SCORES}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"beta_max": 0.5}, "beta_max must be 1 or more; got 0.5.* Pass any_beta=True"),
        ({"beta_max": -1, "any_beta": True}, "beta_max must be 0 or more; got -1"),
        ({"alpha": -1}, "alpha must be 0 or more; got -1"),
        ({"k_min": 1.1}, "k_min must be 1 or less; got 1.1"),
        ({"k_min": -0.1}, "k_min must be 0 or more; got -0.1"),
        ({"apply_to": "lr"}, "apply_to='lr' is not known"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        Mlb(**settings)


def test_a_small_beta_slows_both_when_it_is_meant():
    recipe = Mlb(beta_max=0.5, any_beta=True)
    assert all(k < 1 for k in coefficient(AHEAD, recipe.alpha, recipe.beta_max).values())
