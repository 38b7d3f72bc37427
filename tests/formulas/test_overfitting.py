import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from imbalance_lens.formulas import gradient_overfitting, overfitting_to_generalization
from tests.golden import NUMBERS

losses = st.floats(0, 10)
four_losses = st.tuples(losses, losses, losses, losses)


def numbers(*given):
    return tuple(part.item() for part in overfitting_to_generalization(*given))


@pytest.mark.parametrize("head", ["rgb", "audio", "joint"])
def test_the_ratio_is_the_golden_one(head):
    card = NUMBERS["gblend"]
    given_losses = [torch.tensor(loss) for loss in card["L (T_N,V_N,T_N+n,V_N+n)"][head]]
    overfit, general, ratio = numbers(*given_losses)
    assert overfit == pytest.approx(card["O"][head], abs=1e-6)
    assert general == pytest.approx(card["G"][head], abs=1e-6)
    assert ratio == pytest.approx(card["OGR"][head], abs=1e-5)


@given(four_losses)
def test_the_ratio_is_that_of_the_appendix(four):
    train_before, val_before, train_after, val_after = four
    gained = val_before - val_after
    assume(abs(gained) > 1e-3)
    appendix = (train_before - train_after) - (val_before - val_after)
    overfit, general, ratio = numbers(*four)
    assert overfit == pytest.approx(appendix, abs=1e-12)
    assert general == gained
    assert ratio == pytest.approx(abs(appendix / gained), rel=1e-6, abs=1e-9)


@given(losses, losses)
def test_the_same_set_twice_never_overfits(before, after):
    assert numbers(before, before, after, after)[0] == 0


@given(four_losses, st.floats(0.1, 10))
def test_a_common_scale_of_the_losses_cancels(four, scale):
    assume(abs(four[1] - four[3]) > 1e-3)
    scaled = numbers(*(scale * loss for loss in four))
    assert scaled[2] == pytest.approx(numbers(*four)[2], rel=1e-6, abs=1e-9)


@given(four_losses, losses, losses)
def test_overfitting_and_generalization_add_up_over_checkpoints(four, train_later, val_later):
    first = numbers(*four)
    second = numbers(*four[2:], train_later, val_later)
    whole = numbers(*four[:2], train_later, val_later)
    assert whole[0] == pytest.approx(first[0] + second[0], abs=1e-9)
    assert whole[1] == pytest.approx(first[1] + second[1], abs=1e-9)


def test_no_change_of_the_held_out_loss_has_no_ratio():
    assert math.isnan(numbers(2.0, 2.0, 1.0, 2.0)[2])
    assert math.isnan(numbers(2.0, 2.0, 1.0, 2.0 - 5e-9)[2])
    assert not math.isnan(numbers(2.0, 2.0, 1.0, 2.0 - 2e-8)[2])


def test_getting_worse_shows_in_the_sign_of_the_generalization():
    overfit, general, ratio = numbers(2.0, 2.0, 1.0, 2.5)
    assert (overfit, general, ratio) == (1.5, -0.5, 3.0)


def test_nan_losses_and_half_precision_come_through():
    assert all(math.isnan(part) for part in numbers(1.0, math.nan, 1.0, 1.0))
    half = [torch.tensor(loss, dtype=torch.float16) for loss in (6.0, 6.0, 1.5, 2.0)]
    assert overfitting_to_generalization(*half)[2].dtype is torch.float32


def test_tensors_are_taken_entry_by_entry():
    per_head = torch.tensor([[6.0, 6.0, 1.5, 2.0], [6.0, 6.0, 1.0, 4.5]]).unbind(1)
    ratio = overfitting_to_generalization(*per_head)[2]
    assert ratio.tolist() == pytest.approx([0.125, 7 / 3])


def test_the_ratio_of_one_step_is_the_golden_one():
    card = NUMBERS["ogr_grad"]
    train, val = torch.tensor(card["gradT"]), torch.tensor(card["gradStar"])
    for direction, squared in zip(card["v"], card["OGR2"], strict=True):
        ratio = gradient_overfitting(train, val, torch.tensor(direction, dtype=torch.float32))
        assert ratio.item() ** 2 == pytest.approx(squared)


def test_the_length_of_the_step_does_not_matter_and_a_step_across_has_no_ratio():
    train, val = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 2.0])
    ratios = [gradient_overfitting(train, val, scale * train).item() for scale in (1, 100)]
    assert ratios[0] == pytest.approx(ratios[1])
    assert math.isnan(gradient_overfitting(train, val, torch.tensor([1.0, -1.0])).item())
    assert gradient_overfitting(train, train, val).item() == 0
