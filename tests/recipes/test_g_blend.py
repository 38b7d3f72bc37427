"""G-Blend: training with weights that are given or estimated."""

import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import recipes
from imbalance_lens.errors import BatchError, SettingError
from imbalance_lens.testing import (
    PlantedData,
    PlantedModel,
    assert_recipe_contract,
    planted,
)
from recipes._g_blend.parts import held_out
from recipes.g_blend import (
    GBlend,
)

from .blends import HEADS, SGD, estimated, noisy
from .hand_made import run_of, seen_of


def given_heads():
    torch.manual_seed(5)
    return {name: nn.Linear(4, 4) for name in ("audio", "visual")}


def test_the_loss_is_the_weighted_sum_of_all_heads():
    recipe = GBlend(weights={"audio": 0.25, "visual": 0.0, "joint": 0.5})
    run = run_of()
    recipe.on_fit_start(run)
    recipe.on_epoch_start(run)
    labels = torch.tensor([0, 1])
    own = {"audio": torch.randn(2, 4), "visual": torch.full((2, 4), torch.nan)}
    seen = seen_of({}, logits=torch.zeros(2, 4), labels=labels, modality_logits=own)
    found = recipe.on_loss(run, seen, torch.tensor(3.0))
    wanted = 0.25 * nn.functional.cross_entropy(own["audio"], labels) + 1.5
    assert found.item() == pytest.approx(wanted.item())


def test_all_weight_on_the_joint_head_is_joint_training():
    fits = []
    for recipe in ("none", GBlend(weights={"audio": 0, "visual": 0, "joint": 1})):
        model, loader = planted("audio")
        fits.append(
            recipes.apply(
                recipe, model, loader, epochs=2, heads=given_heads(), optimizer=SGD, seed=0
            )
        )
    assert all(map(torch.equal, *(fit.model.parameters() for fit in fits)))
    for name, head in given_heads().items():
        assert torch.equal(fits[1].heads[name].weight, head.weight)


def test_an_offline_training_is_that_with_the_weights_that_were_estimated():
    model, loader = planted("audio")
    fit = recipes.apply(
        "g_blend", model, loader, epochs=3, heads=given_heads(), optimizer=SGD, seed=0
    )
    weight = fit.history["weight"]
    assert weight.dims == ("epoch", "head")
    assert weight["head"].values.tolist() == HEADS
    assert (weight == weight[0]).all()
    assert fit.history["ogr"].notnull().any("head").values.tolist() == [True, False, False]
    again, loader = planted("audio")
    rest, _ = held_out(loader, 0.1, 0)
    recipes.apply(
        "g_blend", again, rest, epochs=3, heads=given_heads(), optimizer=SGD, seed=0,
        weights=dict(zip(HEADS, weight[0].values.tolist(), strict=True)),
    )  # fmt: skip
    assert all(map(torch.equal, model.parameters(), again.parameters()))


def test_an_estimate_before_the_training_is_the_one_within():
    model, loader = planted("audio")
    before = estimated(model, loader, epochs=3, heads=given_heads())
    fit = recipes.apply(
        "g_blend", model, loader, epochs=3, heads=given_heads(), optimizer=SGD, seed=0
    )
    assert fit.history["weight"][0].values.tolist() == list(before.weights.values())
    assert np.array_equal(fit.history["ogr"][0], before.dataset["ogr"])


ONLINE = {"online": True, "first_super_epoch": 2, "super_epoch": 1}


def test_online_weights_are_estimated_at_the_start_of_each_super_epoch():
    model, loader = noisy()
    told = []
    fit = recipes.apply(
        "g_blend", model, loader, epochs=5, start_epoch=1, optimizer=SGD, seed=0, **ONLINE,
        log=lambda values, step: told.append(values),
    )  # fmt: skip
    made = fit.history["ogr"].notnull().any("head").values.tolist()
    assert made == [False, True, False, True, True]
    weight = fit.history["weight"]
    assert weight[0].isnull().all()
    assert (weight[1] == weight[2]).all()
    assert np.allclose(weight[1:].sum("head"), 1)
    assert any("weight/joint" in values for values in told)


@pytest.mark.parametrize("every", [None, 2])
def test_a_training_resumed_within_a_super_epoch_goes_on_as_if_uninterrupted(tmp_path, every):
    def train(folder, stop=None):
        model, loader = noisy()
        steps = itertools.count()

        def loss(logits, labels):
            if next(steps) == stop:
                raise KeyboardInterrupt
            return nn.functional.cross_entropy(logits, labels)

        return model, functools.partial(
            recipes.apply, "g_blend", model, loader, epochs=4, optimizer=SGD, seed=0, loss=loss,
            checkpoint=folder, checkpoint_every=every, progress=False,
            online=True, first_super_epoch=3, super_epoch=1,
        )  # fmt: skip

    whole, run = train(tmp_path / "whole")
    history = run().history
    per_estimate, per_step = 3 * 3 * 6, 3
    _, run = train(tmp_path / "cut", stop=per_estimate + 6 * per_step + 4 * per_step + 1)
    with pytest.raises(KeyboardInterrupt):
        run()
    resumed, run = train(tmp_path / "cut")
    again = run().history
    for name in ("weight", "ogr", "step_loss"):
        assert again[name].equals(history[name])
    pairs = zip(resumed.state_dict().values(), whole.state_dict().values(), strict=True)
    assert all(itertools.starmap(torch.equal, pairs))


def test_the_recipe_refuses_what_it_cannot_use():
    model, loader = planted("audio", examples=32)
    inputs, _ = next(iter(loader))
    with pytest.raises(SettingError, match=r"no weights in a loop of your own.*estimate_weights"):
        recipes.attach("g_blend", model, inputs)
    with pytest.raises(SettingError, match="weights must have the modalities"):
        recipes.attach("g_blend", model, inputs, weights={"audio": 1.0})
    with pytest.raises(SettingError, match="'joint' must be a number of 0 or more; got -1"):
        recipes.attach("g_blend", model, inputs, weights={"audio": 1, "visual": 1, "joint": -1})
    with pytest.raises(SettingError, match="All weights are 0"):
        recipes.attach("g_blend", model, inputs, weights=dict.fromkeys(HEADS, 0))
    with pytest.raises(SettingError, match="estimate_epochs"):
        GBlend(online=True, estimate_epochs=3)
    for wrong in ({"super_epoch": 0}, {"held_out": 1}, {"fraction": 2}, {"floor": 0}):
        with pytest.raises(SettingError):
            GBlend(**wrong)


def test_any_number_of_modalities_is_blended():
    names = ["a", "b", "items"]
    model, data = PlantedModel(names, 4), PlantedData(dict.fromkeys(names, 2.0), examples=64)
    fit = recipes.apply("g_blend", model, DataLoader(data, 16), epochs=1, optimizer=SGD, seed=0)
    assert fit.history["head"].values.tolist() == [*names, "joint"]


def test_given_weights_act_in_a_loop_of_one_s_own_as_in_the_bundled_one():
    weights = {"audio": 0.5, "visual": 0.2, "joint": 0.3}
    bundled, loader = planted("audio")
    recipes.apply(
        "g_blend", bundled, loader, epochs=1, heads=given_heads(), optimizer=SGD, weights=weights
    )
    model, loader = planted("audio")
    inputs, _ = next(iter(loader))
    with recipes.attach("g_blend", model, inputs, heads=given_heads(), weights=weights) as remedy:
        optimizer = SGD([*model.parameters(), *remedy.parameters()])
        for inputs, labels in loader:
            inputs, labels = remedy.batch(inputs, labels)
            optimizer.zero_grad()
            remedy.loss(nn.functional.cross_entropy(model(**inputs), labels)).backward()
            remedy.gradients(optimizer)
            optimizer.step()
    assert all(map(torch.equal, model.parameters(), bundled.parameters()))


def test_given_weights_blend_losses_of_any_labels():
    model, loader = planted("audio", examples=32)
    several = [(i, nn.functional.one_hot(labels, 4).float()) for i, labels in loader]
    fit = recipes.apply(
        "g_blend", model, several, epochs=1, loss=nn.functional.binary_cross_entropy_with_logits,
        weights=dict.fromkeys(HEADS, 1.0), optimizer=SGD,
    )  # fmt: skip
    assert float(fit.history["step_loss"][-1]) > 0
    again, loader = planted("audio", examples=32)
    with pytest.raises((BatchError, SettingError), match="class indices"):
        recipes.apply(
            "g_blend", again, several, epochs=1, val=several,
            loss=nn.functional.binary_cross_entropy_with_logits, optimizer=SGD,
        )  # fmt: skip


def test_with_given_weights_it_keeps_the_contract_of_recipes():
    assert_recipe_contract(
        "g_blend",
        neutral={"weights": dict.fromkeys(HEADS, 1.0)},
        baseline="multi_loss",
        weights={"audio": 0.3, "visual": 0.5, "joint": 0.2},
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_modality_that_only_overfits_hardly_counts(seed):
    torch.manual_seed(seed)
    data = PlantedData({"audio": 3.0, "visual": 0.0}, examples=320, seed=seed)
    model = PlantedModel(("audio", "visual"), 4)
    for name in model.modalities:
        wide = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 4))
        setattr(model, name, wide)
    found = estimated(model, DataLoader(data, 16, shuffle=True), epochs=15, held_out=0.3, seed=seed)
    noise = found.dataset.sel(head="visual")
    assert noise["overfitting"] > 0.1
    assert found.weights["visual"] < 0.05 < found.weights["audio"]
