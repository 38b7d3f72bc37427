"""The small recipes in every fusion that the library has, each with an anatomy that was found."""

import pytest
import torch
from torch import nn

import recipes
from imbalance_lens.errors import NotApplicableError
from tests.models.fusions import ALL, CLASSES, PAIRS, late

from .trainings import sgd


def trained(recipe, name, count=2, **settings):
    torch.manual_seed(0)
    model, inputs = late(ALL[name], count)
    batches = [(inputs, torch.arange(8) % CLASSES)] * 3
    fit = recipes.apply(
        recipe, model, batches, epochs=1, optimizer=sgd, seed=0, device="cpu", **settings
    )
    return fit, inputs


@pytest.mark.parametrize("name", ALL)
def test_agm_and_mod_drop_train_every_fusion(name):
    fit, inputs = trained(["agm", "mod_drop"], name, 2 if name in PAIRS else 3, alpha=0.5)
    assert all(parameter.isfinite().all() for parameter in fit.model.parameters())
    assert (fit.history["step_coefficient"] > 0).all()
    assert fit.history["step_coefficient"].sizes["modality"] == len(inputs)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_mmcosine_finds_the_head_of_a_concatenation(count):
    fit, inputs = trained("mmcosine", "concat", count)
    assert (fit.model(**inputs).abs() <= 10 * count * (1 + 1e-5)).all()
    assert not any(
        isinstance(module, nn.Linear) for module in fit.model.get_submodule("fusion").modules()
    )


@pytest.mark.parametrize("name", [name for name in ALL if name != "concat"])
def test_mmcosine_refuses_every_other_fusion(name):
    with pytest.raises(NotApplicableError, match="all features side by side"):
        trained("mmcosine", name)
