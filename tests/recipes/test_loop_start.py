"""What a training needs before its first step: a seed, and settings that fit."""

from typing import Any

import pytest
import torch
from torch import nn

import recipes
from imbalance_lens.errors import SettingError, UnknownNameError
from recipes.ogm_ge import OgmGe

from .trainings import (
    AudioVisual,
    loader_of,
    model_of,
    same,
    trained,
    weights_of,
)


def test_a_seed_makes_trainings_alike_and_leaves_the_process_alone() -> None:
    given: dict[str, Any] = {"loader": loader_of(shuffle=True), "epochs": 2}
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one = trained(["opm", "ogm_ge"], seed=5, **given)
    torch.manual_seed(12)
    other = trained(["opm", "ogm_ge"], seed=5, **given)
    assert same(one, other)
    assert not same(one, trained(["opm", "ogm_ge"], seed=6, **given))
    torch.manual_seed(11)
    recipes.apply("opm", AudioVisual(), loader_of(), epochs=1, seed=1, device="cpu")
    torch.manual_seed(11)
    AudioVisual()
    after = torch.get_rng_state()
    torch.manual_seed(11)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(before, after)


class Counting:
    """A loader that notes how often it is gone through."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Any:
        self.times += 1
        return iter(loader_of())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"recipe": "ogm-ge"}, UnknownNameError, "Did you mean 'ogm_ge'"),
        ({"alfa": 0.5}, UnknownNameError, "alpha"),
        ({"recipe": []}, SettingError, "at least one recipe"),
        ({"recipe": ["opm", "opm"]}, SettingError, "twice"),
        ({"recipe": 3}, SettingError, "name or a Recipe"),
        ({"recipe": [None]}, SettingError, "name or a Recipe"),
        ({"epochs": 0}, SettingError, "epochs"),
        ({"accumulate": 0}, SettingError, "accumulate"),
        ({"clip_norm": -1.0}, SettingError, "clip_norm"),
        ({"patience": 2}, SettingError, "val_loader"),
        ({"keep": "best"}, SettingError, "val_loader"),
        ({"precision": "fp8"}, SettingError, "precision"),
        ({"precision": "fp16"}, SettingError, "CUDA"),
        ({"device": "nowhere"}, SettingError, "nowhere"),
        ({"heads": {"audio": nn.Linear(8, 3)}}, SettingError, "visual"),
        ({"readout": "guess"}, SettingError, "readout"),
        ({"schedule_by": "batch"}, SettingError, "schedule_by"),
        ({"resume": "yes"}, SettingError, "resume"),
        ({"noise": "no"}, SettingError, "noise must be True or False; got 'no'"),
        ({"min_ndim": 2.5}, SettingError, "min_ndim must be a whole number"),
        ({"start_epoch": 0.5}, SettingError, "start_epoch must be a whole number"),
        ({"seed": "a"}, SettingError, "seed must be a whole number"),
        ({"seed": 1.0}, SettingError, "seed must be a whole number"),
        ({"seed": 2**64}, SettingError, "seed must be a whole number"),
        ({"log": 5}, SettingError, "log"),
        ({"loss": "mse"}, SettingError, "loss"),
        ({"loss": nn.CrossEntropyLoss}, SettingError, "Make one: CrossEntropyLoss"),
        ({"split": 5}, SettingError, "split"),
        ({"logits": 5}, SettingError, "logits"),
        ({"probes": "logit_nrom"}, UnknownNameError, "logit_norm"),
        ({"recipe": OgmGe(), "alpha": 0.5}, SettingError, "is made already"),
        ({"recipe": OgmGe}, SettingError, r"Make one: OgmGe\(\)"),
        ({"recipe": "mlb", "heads": [nn.Linear(8, 3)] * 2}, SettingError, "heads"),
        ({"probes": ["logit_nrom"]}, UnknownNameError, "logit_norm"),
        ({"anatomy": {"audio": "audio", "visuel": "visuals"}}, Exception, "visuals"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_step(settings, error, message) -> None:
    loader, model = Counting(), model_of()
    before = weights_of(model)
    given = {"recipe": "ogm_ge", "epochs": 1, "device": "cpu", **settings}
    chosen = given.pop("recipe")
    with pytest.raises(error, match=message):
        recipes.apply(chosen, model, loader, **given)
    assert loader.times <= 1
    assert same(weights_of(model), before)
    assert "forward" not in vars(model)
