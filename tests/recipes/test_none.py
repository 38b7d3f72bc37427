"""Joint training: the recipe that does nothing."""

from dataclasses import fields

import torch

from imbalance_lens.testing import assert_passive
from recipes._base import Recipe, acts_on
from recipes.none import CARD, JointTraining

from .hand_made import CLASSES, batch_of, run_of, same, trained


def test_it_acts_at_no_event_and_asks_for_nothing():
    events = [name for name in vars(Recipe) if name.startswith("on_")]
    assert events
    assert not any(acts_on(JointTraining(), event) for event in events)
    assert CARD.events == CARD.touches == ()
    assert JointTraining().wants() == set()


def test_it_has_no_settings_of_its_own():
    assert [f.name for f in fields(JointTraining)] == [f.name for f in fields(Recipe)]


def test_it_is_a_loop_without_a_recipe():
    run = run_of()
    optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1)
    for number in range(3):
        inputs, labels = batch_of(run, seed=number)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(run.model(**inputs), labels).backward()
        optimizer.step()
    found = trained(JointTraining())
    assert same(
        {n: found[n] for n, _ in run.model.named_parameters()}, dict(run.model.named_parameters())
    )


def test_it_leaves_the_model_alone():
    run = run_of()
    recipe = JointTraining()
    with assert_passive(run.model):
        recipe.on_fit_start(run)
        recipe.on_epoch_start(run)
        inputs, labels = recipe.on_batch(run, *batch_of(run))
        assert recipe.on_features(run, "audio", inputs["audio"]) is inputs["audio"]
        recipe.on_step_end(run)
        recipe.on_epoch_end(run)
        recipe.on_fit_end(run)
    assert labels.max() < CLASSES
