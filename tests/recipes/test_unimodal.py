"""Unimodal training: every encoder learns as if it were alone."""

import pytest
import torch
from torch import nn

from imbalance_lens.errors import SettingError
from recipes._base import Want
from recipes.unimodal import Unimodal

from .hand_made import CLASSES, batch_of, run_of, trained, weights


@pytest.mark.parametrize("modality", ["audio", "visual", "text"])
def test_each_encoder_ends_as_one_that_was_trained_alone(modality):
    names = ["audio", "visual", "text"]
    together = trained(Unimodal(), modalities=names, momentum=0.9)
    torch.manual_seed(0)
    run = run_of(names)
    assert run.heads is not None
    alone = nn.Sequential(run.model.get_submodule(modality), run.heads[modality])
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.9)
    for number in range(3):
        inputs, labels = batch_of(run, seed=number)
        optimizer.zero_grad()
        nn.functional.cross_entropy(alone(inputs[modality]), labels).backward()
        optimizer.step()
    for name, value in weights(run).items():
        if name.startswith(modality):
            assert torch.equal(together[name], value)
    place = names.index(modality)
    assert torch.equal(together[f"heads.of.{place}.1.weight"], alone[1].get_parameter("1.weight"))


def test_what_no_modality_owns_is_frozen_and_given_back():
    recipe, run = Unimodal(), run_of()
    recipe.on_fit_start(run)
    head = run.model.get_submodule("head")
    assert not any(p.requires_grad for p in head.parameters())
    assert all(p.requires_grad for name in run.modalities for p in run.parameters(name))
    assert run.heads is not None
    assert all(p.requires_grad for p in run.heads.parameters())
    recipe.on_fit_end(run)
    assert all(p.requires_grad for p in head.parameters())


def test_what_the_user_froze_stays_frozen():
    recipe, run = Unimodal(), run_of()
    head = run.model.get_submodule("head")
    head.get_parameter("bias").requires_grad_(False)
    run.model.get_submodule("audio").requires_grad_(False)
    recipe.on_fit_start(run)
    recipe.on_fit_end(run)
    recipe.on_fit_end(run)
    assert [p.requires_grad for p in head.parameters()] == [True, False]
    assert not any(p.requires_grad for p in run.model.get_submodule("audio").parameters())


def test_a_layer_that_encoders_share_is_frozen_too():
    run = run_of()
    shared = nn.Linear(CLASSES, CLASSES)
    for name in run.modalities:
        run.model.get_submodule(name).add_module("trunk", shared)
    recipe = Unimodal()
    recipe.on_fit_start(run)
    assert not shared.weight.requires_grad
    assert all(p.requires_grad for name in run.modalities for p in run.parameters(name))
    recipe.on_fit_end(run)
    assert shared.weight.requires_grad


def test_the_fusion_stays_as_it_was():
    start, end = weights(run_of()), trained(Unimodal(), weight_decay=0.1)
    assert torch.equal(end["head.weight"], start["head.weight"])
    assert not torch.equal(end["audio.weight"], start["audio.weight"])


@pytest.mark.parametrize("settings", [{"start_epoch": 2}, {"end_epoch": 5}])
def test_it_cannot_begin_late_or_end_early(settings):
    with pytest.raises(SettingError, match="trains without the joint loss from the first epoch"):
        Unimodal(**settings)


def test_it_asks_for_heads():
    assert Unimodal().wants() == {Want.HEADS}
