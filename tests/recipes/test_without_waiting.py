"""No event waits for the device: with tensors that hold no numbers, reading one is an error."""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from recipes._base import Recipe
from recipes.fust import FusT
from recipes.mlb import Mlb
from recipes.multi_loss import MultiLoss
from recipes.ogm_ge import OgmGe
from recipes.opm import Opm
from recipes.unimodal import Unimodal

from .hand_made import backward, batch_of, run_of, step

RECIPES = [
    OgmGe(),
    OgmGe(only_modulated=True, apply_to="update", form="cvpr"),
    OgmGe(star="tanh"),
    OgmGe(ratio="difference", z="sigmoid"),
    Opm(scale="theta", p_exe=0.7),
    Opm(scale="inverted", lag=1),
    Mlb(include_head=True, include_fusion_slice=True),
    Mlb(apply_to="update", k_min=0.1),
    MultiLoss(),
    Unimodal(),
    FusT(unimodal_epochs=1, masking="none"),
    FusT(unimodal_epochs=0, masking="none", learning_rates={"audio": 0.5}),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=repr)
def test_a_step_reads_no_number(recipe: Recipe):
    with FakeTensorMode():
        run = run_of()
        run.skipped = torch.tensor(False)
        recipe.on_fit_start(run)
        optimizer = torch.optim.SGD([p for p in run.model.parameters() if p.requires_grad], lr=0.1)
        for _ in range(2):
            step(recipe, run, optimizer)
        recipe.on_fit_end(run)


def test_a_recipe_that_waits_is_noticed():
    class Waiting(Recipe):
        def on_gradients(self, run, seen):
            if seen.scores["audio"] > 1:
                run.step = 0

    recipe = Waiting()
    with FakeTensorMode():
        run = run_of()
        seen = backward(recipe, run, *batch_of(run))
        with pytest.raises(DataDependentOutputException):
            recipe.on_gradients(run, seen)
