"""G-Blend: heads trained alone, and nothing else touched."""

import copy
import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn

from imbalance_lens import Anatomy, schema
from imbalance_lens.testing import (
    assert_passive,
    planted,
)
from recipes.g_blend import (
    blend_weights,
)

from .blends import HEADS, Noisy, estimated, noisy, numbers, terms


def test_an_estimate_leaves_everything_as_it_was():
    model, loader = noisy(generator=torch.Generator().manual_seed(1))
    heads = {name: nn.Linear(8, 4) for name in ("audio", "visual")}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs, labels = next(iter(loader))
    nn.functional.cross_entropy(model(**inputs), labels).backward()
    optimizer.step()
    before = copy.deepcopy((optimizer.state_dict(), loader.generator.get_state()))
    random_before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with assert_passive(model), assert_passive(heads["audio"]), assert_passive(heads["visual"]):
        estimated(model, loader, epochs=2, heads=heads, optimizer=optimizer)
    state, generator = before
    for after, then in zip(
        optimizer.state_dict()["state"].values(), state["state"].values(), strict=True
    ):
        assert torch.equal(after["momentum_buffer"], then["momentum_buffer"])
    assert optimizer.state_dict()["param_groups"] == state["param_groups"]
    assert torch.equal(loader.generator.get_state(), generator)
    after = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert after == random_before


def test_an_estimate_is_the_same_whatever_the_random_state():
    model, loader = noisy()
    first = estimated(model, loader, epochs=2)
    torch.manual_seed(99)
    again = estimated(model, loader, epochs=2)
    assert first.dataset.identical(again.dataset)
    assert not first.dataset.identical(estimated(model, loader, epochs=2, seed=1).dataset)


def by_hand(forward, parameters, batches, held, epochs):
    """T, V before and after plain SGD with momentum, written out."""
    parameters = [p.detach().clone().requires_grad_() for p in parameters]
    speed = [torch.zeros_like(p) for p in parameters]

    def loss(part):
        total = sum(
            nn.functional.cross_entropy(forward(parameters, i), y, reduction="sum") for i, y in part
        )
        return total.item() / sum(len(y) for _, y in part)

    before = loss(batches), loss(held)
    for _, (inputs, labels) in itertools.product(range(epochs), batches):
        step = nn.functional.cross_entropy(forward(parameters, inputs), labels)
        for p, v, g in zip(parameters, speed, torch.autograd.grad(step, parameters), strict=True):
            v.mul_(0.9).add_(g)
            with torch.no_grad():
                p.sub_(0.1 * v)
    return (*before, loss(batches), loss(held))


def test_gains_and_overfitting_are_those_of_trainings_written_by_hand():
    model, loader = planted("audio", examples=64, strong=2.0)
    batches = list(loader)
    train, held = batches[:-1], batches[-1:]
    heads = {name: nn.Linear(4, 4) for name in model.modalities}
    found = estimated(model, train, held, epochs=3, heads=heads)
    linear = nn.functional.linear
    losses = {}
    for name in model.modalities:
        own = [*model.get_submodule(name).parameters(), *heads[name].parameters()]
        losses[name] = by_hand(
            lambda p, x, name=name: linear(linear(x[name], p[0], p[1]), p[2], p[3]),
            own,
            train,
            held,
            3,
        )
    losses["joint"] = by_hand(
        lambda p, x: linear(
            torch.cat([linear(x["audio"], p[0], p[1]), linear(x["visual"], p[2], p[3])], 1),
            p[4],
            p[5],
        ),
        list(model.parameters()),
        train,
        held,
        3,
    )
    gained, paid = terms(losses)
    for head in HEADS:
        at = found.dataset.sel(head=head)
        assert float(at["generalization"]) == pytest.approx(gained[head], abs=1e-5)
        assert float(at["overfitting"]) == pytest.approx(paid[head], abs=1e-5)
        assert float(at["ogr"]) == pytest.approx(abs(paid[head] / gained[head]), rel=1e-3)
    weights = numbers(blend_weights(gained, paid))
    assert found.weights == pytest.approx(weights, rel=1e-3)
    assert "generalization" in repr(found)
    schema.validate(found.dataset)


def test_a_unimodal_head_is_trained_without_the_other_encoders():
    model, loader = noisy(examples=100)
    estimated(model, loader, epochs=3, fraction=0.5)
    trained = 3 * 45  # half of the nine tenths that are not held out
    for name in model.modalities:  # once alone and once jointly
        assert model.get_submodule(name).examples.count == 2 * trained


class Crossed(Noisy):
    """The second encoder reads what the first one gave, so neither can be skipped for the other."""

    def forward(self, audio, visual):
        first = self.audio(audio)
        second = self.visual(visual + first[:, :4])
        return self.head(torch.cat([first, second], 1))


def test_where_the_other_encoder_matters_it_is_run():
    torch.manual_seed(0)
    model, (_, loader) = Crossed(), noisy()
    found = estimated(model, loader, epochs=1, anatomy={"audio": "audio", "visual": "visual"})
    assert sum(found.weights.values()) == pytest.approx(1)
    examples = len(loader.dataset) - 10
    assert model.audio.examples.count == 3 * examples  # alone, for the second one, and jointly


def test_hooks_on_an_encoder_are_heard():
    model, loader = planted(None, examples=64, strong=2.0)
    plain = estimated(model, loader, epochs=1)
    model.audio.register_forward_hook(lambda _, __, output: output * 0)
    hooked = estimated(model, loader, epochs=1)
    assert hooked.dataset["accuracy"].sel(head="audio").max() < 0.5
    for name in ("loss", "generalization"):
        one, other = (d.dataset[name].sel(head="visual") for d in (plain, hooked))
        assert one.equals(other)


def test_inputs_may_be_the_features():
    model, loader = planted("audio", examples=64)
    names = ("audio", "visual")
    who = Anatomy(encoders={m: m for m in names}, sites={m: (f"input:{m}",) for m in names})
    found = estimated(model, loader, epochs=2, anatomy=who)
    assert float(found.dataset["generalization"].sel(head="audio")) > 0


@pytest.mark.parametrize("measure", ["loss", "accuracy"])
def test_the_correlated_solution_measures_every_epoch(measure):
    model, loader = noisy()
    found = estimated(model, loader, epochs=4, solution="correlated", measure=measure)
    assert found.dataset["epoch"].values.tolist() == [0, 1, 2, 3, 4]
    assert sum(found.weights.values()) == pytest.approx(1)
    assert min(found.weights.values()) >= 0
    assert float(found.dataset["loss"].isnull().sum()) == 0


def test_accuracies_weigh_by_error_rates():
    model, loader = noisy()
    found = estimated(model, loader, epochs=3, measure="accuracy").dataset
    accuracy = found["accuracy"].sel(part="held_out")
    gained = accuracy.isel(epoch=-1) - accuracy.isel(epoch=0)
    assert np.allclose(found["generalization"], gained)
    assert found["generalization"].attrs["units"] == "1"
