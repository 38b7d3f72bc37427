"""AGM: golden numbers, a slow twin, its properties, and what it does to a training."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import recipes
from imbalance_lens.errors import NoEffectWarning, SettingError
from recipes._own_logits import contributions, shapley_logits
from recipes.agm import COEFFICIENT, SURPRISE, Agm, coefficient, lead, surprise
from recipes.none import JointTraining

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
from .trainings import Gated, loader_of, model_of

surprises = st.dictionaries(
    st.sampled_from(["audio", "visual", "text", "depth"]), st.floats(0, 5), min_size=2
)


def values_of(**logits):
    """v(S), by the first letters of those who are present."""
    return {frozenset(who): torch.tensor([value]) for who, value in logits.items()}


def slow_pace(now, before, alpha, cap):
    """The paper's formulas, one number at a time; no modality is mentioned in its own mean."""
    found = {}
    for name in now:
        others = [other for other in now if other != name]
        r = math.exp(sum(now[o] - now[name] for o in others) / len(others))
        tau = math.exp(sum(before[o] - before[name] for o in others) / len(others))
        found[name] = math.exp(alpha * min(tau - r, cap))
    return found


def test_the_shares_of_two_are_the_golden_ones():
    shares = shapley_logits(values_of(av=[1.5, 0.3], a=[1.0, 0.0], v=[0.2, 0.6]))
    torch.testing.assert_close(shares["a"], torch.tensor([[1.15, -0.15]]))
    torch.testing.assert_close(shares["v"], torch.tensor([[0.35, 0.45]]))


def test_the_share_of_one_of_three_is_the_sum_of_the_authors_code():
    draw = torch.Generator().manual_seed(0)
    names = ("a", "v", "t", "av", "at", "vt", "avt")
    v = {who: torch.randn(4, 3, generator=draw) for who in names}
    shares = shapley_logits({frozenset(who): value for who, value in v.items()})
    audio = (v["avt"] - v["vt"]) / 3 + (v["av"] - v["v"] + v["at"] - v["t"]) / 6 + v["a"] / 3
    torch.testing.assert_close(shares["a"], audio)
    torch.testing.assert_close(sum(shares.values()), v["avt"])


def test_coefficients_are_the_golden_ones():
    leads = lead(scores_of(a=0.5, v=1.5))
    found = coefficient(leads, scores_of(a=1.0, v=1.0), alpha=0.5)
    assert numbers(found) == pytest.approx([0.423526, 1.371713], abs=1e-6)


def test_who_is_ahead_leads_and_is_slowed():
    leads = lead(scores_of(ahead=0.2, behind=2.0))
    assert leads["ahead"] > 1 > leads["behind"]
    paces = coefficient(leads, scores_of(ahead=1.0, behind=1.0), alpha=0.3)
    assert paces["ahead"] < 1 < paces["behind"]


@given(surprises, st.floats(0, 2), st.floats(0.1, 20), st.randoms())
def test_coefficients_are_those_of_the_slow_twin(now, alpha, cap, draw):
    before = {name: draw.uniform(0, 5) for name in now}
    found = coefficient(lead(scores_of(**now)), lead(scores_of(**before)), alpha, cap)
    twin = slow_pace(now, before, alpha, cap)
    assert {n: k.item() for n, k in found.items()} == pytest.approx(twin, rel=1e-6, abs=1e-300)


@given(surprises, st.floats(0, 2))
def test_a_lead_that_is_as_it_used_to_be_changes_nothing(now, alpha):
    leads = lead(scores_of(**now))
    assert all(factor == 1 for factor in coefficient(leads, leads, alpha).values())


@given(surprises, st.floats(0, 3))
def test_leads_multiply_to_1_and_do_not_depend_on_a_common_surprise(now, more):
    leads = lead(scores_of(**now))
    assert math.prod(numbers(leads)) == pytest.approx(1, rel=1e-6)
    shifted = lead(scores_of(**{name: value + more for name, value in now.items()}))
    assert numbers(shifted) == pytest.approx(numbers(leads), rel=1e-6)


def test_the_surprise_is_the_negative_log_probability_and_has_a_floor():
    logits = torch.tensor([[0.0, math.log(3)], [100.0, 0.0]])
    assert surprise(logits[:1], torch.tensor([1])).item() == pytest.approx(math.log(4 / 3))
    assert surprise(logits[1:], torch.tensor([1])).item() == pytest.approx(-math.log(1e-8))


def test_a_linear_head_is_split_as_its_coalitions_would_be():
    run = run_of(["a", "b", "c"])
    inputs, labels = batch_of(run)
    seen = backward(JointTraining(), run, inputs, labels)
    split = contributions(run, seen, inputs)
    run.fusion = None  # so that the model is asked
    asked = contributions(run, seen, inputs)
    torch.testing.assert_close(split, asked)
    torch.testing.assert_close(sum(asked.values()), seen.logits.detach())


def test_the_first_step_is_measured_against_1_and_later_ones_against_the_running_mean():
    noted = []
    run = run_of(_record=lambda quantity, values: noted.append((quantity, values)))
    recipe = Agm(alpha=0.5)
    recipe.on_fit_start(run)
    optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)
    for number in range(4):
        step(recipe, run, optimizer, seed=number)
    told = [{n: v.item() for n, v in values.items()} for q, values in noted if q is SURPRISE]
    paces = [{n: v.item() for n, v in values.items()} for q, values in noted if q is COEFFICIENT]
    for number, now in enumerate(told):
        before = {name: sum(past[name] for past in told[:number]) / max(number, 1) for name in now}
        assert paces[number] == pytest.approx(slow_pace(now, before, 0.5, 10), rel=1e-5)


def test_the_encoders_gradients_are_scaled_and_the_head_s_are_not():
    run, recipe = run_of(), Agm(alpha=0.5)
    recipe.on_fit_start(run)
    noted = []
    run._record = lambda quantity, values: noted.append((quantity, values))
    seen = backward(recipe, run, *batch_of(run))
    before = {
        n: gradients(run.model.get_submodule(n).parameters()) for n in (*run.modalities, "head")
    }
    recipe.on_gradients(run, seen)
    factors = next(values for quantity, values in noted if quantity is COEFFICIENT)
    for name in run.modalities:
        pairs = zip(gradients(run.parameters(name)), before[name], strict=True)
        for after, own in pairs:
            torch.testing.assert_close(after, own * factors[name].float())
    assert all(
        map(torch.equal, gradients(run.model.get_submodule("head").parameters()), before["head"])
    )


def test_micro_batches_are_one_step():
    whole, parts = (run_of() for _ in range(2))
    inputs, labels = batch_of(whole)
    halves = [({n: t[k : k + 4] for n, t in inputs.items()}, labels[k : k + 4]) for k in (0, 4)]
    told = []
    for run, batches in ((whole, [(inputs, labels)]), (parts, halves)):
        recipe = Agm()
        recipe.on_fit_start(run)
        run._record = lambda quantity, values: told.append(numbers(values))
        seen = [backward(recipe, run, *batch) for batch in batches]
        recipe.on_gradients(run, seen[-1])
    assert told[0] == pytest.approx(told[2])
    assert told[1] == pytest.approx(told[3])


def test_a_step_that_was_left_out_is_not_remembered():
    run, recipe = run_of(), Agm()
    recipe.on_fit_start(run)
    recipe.on_gradients(run, backward(recipe, run, *batch_of(run)))
    run.skipped = torch.tensor(True)
    recipe.on_step_end(run)
    assert recipe.state_dict()["steps"] == 0
    assert not recipe.state_dict()["means"].any()


def test_an_alpha_of_0_is_bitwise_plain_training():
    assert same(trained(Agm(alpha=0.0)), trained(JointTraining()))


def test_an_update_is_scaled_whatever_the_optimizer():
    start = weights(run_of())
    plain = trained(JointTraining(), torch.optim.AdamW, steps=1)
    paced = trained(Agm(alpha=0.5, apply_to="update"), torch.optim.AdamW, steps=1)
    run = run_of()
    seen = backward(JointTraining(), run, *batch_of(run))
    shares = contributions(run, seen, None).items()
    leads = lead({name: surprise(own, seen.labels) / len(seen.labels) for name, own in shares})
    factors = coefficient(leads, scores_of(audio=1.0, visual=1.0), alpha=0.5)
    assert abs(factors["audio"] - 1) > 1e-3
    for name in start:
        factor = factors.get(name.partition(".")[0], torch.tensor(1.0)).float()
        due = factor * (plain[name] - start[name])
        torch.testing.assert_close(paced[name] - start[name], due, rtol=1e-3, atol=1e-6)


GIVEN: dict[str, Any] = {"epochs": 2, "seed": 0, "device": "cpu", "alpha": 0.5}


def test_a_head_of_several_layers_is_asked_and_left_as_it_was():
    head = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    model = model_of(head=head)
    fit = recipes.apply("agm", model, loader_of(), **GIVEN)
    factors = fit.history["step_coefficient"]
    assert (factors > 0).all()
    assert (factors != 1).any()
    assert head[2].num_batches_tracked == 6  # only the training's own passes


def test_where_modalities_only_multiply_each_has_half_of_the_answer():
    fit = recipes.apply("agm", model_of(Gated), loader_of(), **GIVEN)
    assert (fit.history["step_coefficient"] == 1).all()


def test_a_step_reads_no_number():
    with FakeTensorMode():
        run, recipe = run_of(), Agm(apply_to="update")
        run.skipped = torch.tensor(False)
        recipe.on_fit_start(run)
        optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)
        for _ in range(2):
            step(recipe, run, optimizer)


def test_an_optimizer_that_cancels_the_factor_gives_a_warning():
    run, recipe = run_of(), Agm()
    recipe.on_fit_start(run)
    with pytest.warns(NoEffectWarning, match=r"Pass apply_to='update', or train with SGD"):
        step(recipe, run, torch.optim.Adam(run.model.parameters()))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"alpha": -1}, "alpha must be 0 or more; got -1"),
        ({"cap": 0}, "cap must be above 0; got 0"),
        ({"apply_to": "loss"}, "apply_to='loss' is not known"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        Agm(**settings)
