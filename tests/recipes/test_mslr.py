"""MSLR: rates of their own, fixed or by accuracy, exactly as other learning rates would be."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import recipes
from imbalance_lens.errors import NoEffectWarning, NotApplicableError, SettingError
from recipes.mslr import Mslr, relative_accuracy
from recipes.none import JointTraining

from .hand_made import run_of, same, step, trained, weights
from .trainings import Gated, loader_of, model_of

RATES = {"audio": 0.5, "visual": 2.0}
KNOWN: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.01}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.01}),
]


def in_groups(optimizer, lr, steps=3, **settings):
    """The twin: torch's own parameter groups, each with a learning rate of its own."""
    run = run_of()
    rest = run.model.get_submodule("head").parameters()
    groups = [{"params": run.parameters(name), "lr": lr * RATES[name]} for name in run.modalities]
    made = optimizer([*groups, {"params": rest}], lr=lr, **settings)
    for number in range(steps):
        step(JointTraining(), run, made, seed=number)
    return weights(run)


@pytest.mark.parametrize(("optimizer", "settings"), KNOWN)
def test_a_rate_is_a_learning_rate_for_every_optimizer(optimizer: Any, settings: Any):
    paced, twin = (
        trained(Mslr(rates=RATES), optimizer, **settings),
        in_groups(optimizer, **settings),
    )
    for name, expected in twin.items():
        torch.testing.assert_close(paced[name], expected, rtol=1e-5, atol=1e-6)


def test_scaled_gradients_are_another_learning_rate_for_sgd():
    paced, twin = trained(Mslr(rates=RATES, apply_to="grad")), in_groups(torch.optim.SGD, lr=0.1)
    for name, expected in twin.items():
        torch.testing.assert_close(paced[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("apply_to", ["grad", "update"])
def test_rates_of_1_are_bitwise_plain_training(apply_to):
    ones = {"audio": 1.0, "visual": 1.0}
    settings: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.01}
    paced = trained(Mslr(rates=ones, apply_to=apply_to), **settings)
    assert same(paced, trained(JointTraining(), **settings))


def test_a_rate_of_0_holds_an_encoder_where_it_is():
    after = trained(Mslr(rates={"audio": 0.0, "visual": 1.0}), weight_decay=0.1)
    start = weights(run_of())
    assert torch.equal(after["audio.weight"], start["audio.weight"])
    assert not torch.equal(after["visual.weight"], start["visual.weight"])


def test_accuracies_are_compared_with_those_before():
    assert relative_accuracy([0.2, 0.4, 0.6, 0.9], window=2) == pytest.approx(0.9 / 0.5)
    assert relative_accuracy([0.2, 0.4, 0.6, 0.9], window=4) == 1
    assert relative_accuracy([], window=1) == 1
    assert relative_accuracy([0.0, 0.0, 0.5], window=2) == 1


@given(st.lists(st.floats(0.01, 1), max_size=12), st.integers(1, 6))
def test_the_slow_twin_remembers_as_the_authors_code_does(accuracies, window):
    memory, ratio = [], 1.0
    for accuracy in accuracies:
        recent = memory[-window:]
        ratio = accuracy / (sum(recent) / window) if len(recent) == window else 1.0
        memory.append(accuracy)
    assert relative_accuracy(accuracies, window) == pytest.approx(ratio)


def test_rates_follow_held_out_accuracies_from_the_epoch_on_that_has_enough_of_them():
    fit = recipes.apply(
        Mslr(rates=RATES, val=loader_of(), window=2),
        model_of(),
        loader_of(),
        epochs=5,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        seed=0,
        device="cpu",
    )
    accuracies = fit.history["held_out_accuracy"]
    paces = fit.history["step_coefficient"].values.reshape(5, 3, 2)  # 3 batches in an epoch
    assert (paces == paces[:, :1]).all()  # the same in all steps of an epoch
    for place, name in enumerate(("audio", "visual")):
        own = accuracies.sel(modality=name).values.tolist()
        for epoch in range(5):
            expected = RATES[name] * relative_accuracy(own[:epoch], 2)
            assert paces[epoch, 0, place] == pytest.approx(expected)
    assert len({*paces[:, 0, 1].tolist()}) > 1


def test_measuring_changes_nothing_but_the_rates():
    given: dict[str, Any] = {"epochs": 2, "seed": 0, "device": "cpu"}
    plain = recipes.apply("none", model_of(), loader_of(), **given)
    watched = recipes.apply(Mslr(val=loader_of(), window=5), model_of(), loader_of(), **given)
    assert same(plain.model.state_dict(), watched.model.state_dict())


def test_a_resumed_training_remembers_the_accuracies():
    one, other = Mslr(val=loader_of()), Mslr(val=loader_of())
    one._accuracies = {"audio": [0.1, 0.2], "visual": [0.3, 0.4]}
    other.load_state_dict(one.state_dict())
    one._accuracies["audio"].append(0.5)
    assert other._accuracies == {"audio": [0.1, 0.2], "visual": [0.3, 0.4]}


def test_it_paces_numbers_to_predict():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.audio, self.visual, self.head = nn.Linear(5, 2), nn.Linear(4, 2), nn.Linear(4, 1)

        def forward(self, audio, visual):
            return self.head(torch.cat([self.audio(audio), self.visual(visual)], dim=1))

    torch.manual_seed(0)
    batches = [({"audio": a, "visual": v}, y.float()[:, None]) for a, v, y in loader_of()]
    given: dict[str, Any] = {
        "epochs": 1,
        "loss": nn.functional.mse_loss,
        "seed": 0,
        "device": "cpu",
    }
    fit = recipes.apply(Mslr(rates=RATES), Sum(), batches, **given)
    assert all(p.isfinite().all() for p in fit.model.parameters())
    with pytest.raises(NotApplicableError, match=r"need class labels\. Leave out val="):
        recipes.apply(Mslr(val=batches), Sum(), batches, **given)


def test_a_head_that_does_not_tell_modalities_apart_has_no_accuracies_to_follow():
    with pytest.raises(NotApplicableError, match="alone cannot be read out of this head"):
        recipes.apply(
            Mslr(val=loader_of()), model_of(Gated), loader_of(), epochs=1, seed=0, device="cpu"
        )


def test_a_step_reads_no_number():
    with FakeTensorMode():
        run, recipe = run_of(), Mslr(rates=RATES)
        run.skipped = torch.tensor(False)
        recipe.on_fit_start(run)
        step(recipe, run, torch.optim.SGD(run.model.parameters(), lr=0.1))


def test_scaled_gradients_with_adam_give_a_warning():
    run, recipe = run_of(), Mslr(rates=RATES, apply_to="grad")
    recipe.on_fit_start(run)
    with pytest.warns(NoEffectWarning, match="Pass apply_to='update'"):
        step(recipe, run, torch.optim.Adam(run.model.parameters()))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"rates": {"audio": -1}}, r"rates\['audio'\] must be 0 or more; got -1"),
        ({"window": 0}, "window must be a whole number above 0; got 0"),
        ({"apply_to": "loss"}, "apply_to='loss' is not known"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        Mslr(**settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, r"'mslr' needs to know the rates\. Pass rates=.*'audio', 'visual'"),
        ({"rates": {"audio": 1.0}}, "visual"),
        ({"rates": {**RATES, "text": 1.0}}, "text"),
    ],
)
def test_rates_that_do_not_fit_the_model_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        Mslr(**settings).on_fit_start(run_of())
