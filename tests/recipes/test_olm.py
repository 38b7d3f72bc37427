"""OLM in training: what it equals, what it measures, what it leaves alone."""

import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import DataLoader

import recipes
from imbalance_lens import formulas
from imbalance_lens.errors import BatchError, SettingError
from imbalance_lens.testing import assert_passive, assert_recipe_contract
from recipes._base import Want
from recipes._heads import UnimodalHeads
from recipes._olm.head_losses import FixedExamples
from recipes.olm import LEAST, Olm, modulation_loss, rebalancing_factors, scaled

from .hand_made import batch_of, run_of, seen_of
from .trainings import AudioVisual, data_of, loader_of, model_of, same, sgd, weights_of

HEADS = ["audio", "visual", "joint"]


def held_out(batch_size=8):
    return DataLoader(data_of(16, seed=5), batch_size)


def fitted(recipe="olm", loader=None, model=None, **settings):
    given = {"epochs": 2, "optimizer": sgd, "seed": 3, "device": "cpu", **settings}
    if recipe == "olm":
        given = {"val": held_out(), "every": 2, **given}
    model = model_of(AudioVisual, dropout=0.3, norm=True) if model is None else model
    return recipes.apply(recipe, model, loader or loader_of(), **given)


def ends(fit):
    return weights_of(fit.model) | {
        f"{name}.{key}": value
        for name, head in fit.heads.items()
        for key, value in weights_of(head).items()
    }


def test_without_a_learning_rate_it_is_multi_loss_bit_by_bit():
    assert same(ends(fitted(lr=0)), ends(fitted("multi_loss")))
    assert not same(ends(fitted(lr=0.1)), ends(fitted("multi_loss")))


def test_it_keeps_the_contract_of_every_recipe():
    val = [({"a": torch.ones(4, 4), "b": torch.eye(4)}, torch.arange(4))]
    train = [({"a": torch.eye(4), "b": torch.eye(4)}, torch.arange(4))]
    given = {"val": val, "train": train, "every": 3, "lr": 0.05}
    assert_recipe_contract(
        "olm",
        modalities=("a", "b"),
        neutral={**given, "lr": 0.0},
        baseline="multi_loss",
        **given,
    )


@pytest.mark.parametrize("official", [False, True])
def test_a_training_is_the_one_made_by_hand(official):
    batches = [(inputs, labels) for *inputs, labels in loader_of()]
    val = [(inputs, labels) for *inputs, labels in held_out(16)]
    recipe = Olm(val=val, train=batches[:1], lr=0.02, every=1, official_grad=official)
    start = model_of()
    fit = fitted(recipe, batches, start, epochs=1, optimizer=partial(sgd, lr=0.05))

    model, loss_of = model_of(), nn.functional.cross_entropy
    heads = {name: nn.Linear(8, 3) for name in HEADS[:2]}
    for name, head in heads.items():
        head.load_state_dict(initial_heads(batches)[name])
    own = [p for head in heads.values() for p in head.parameters()]
    optimizer = sgd([*model.parameters(), *own], lr=0.05)

    def logits_of(audio, visual):
        features = model.audio(audio), model.visual(visual)
        own = [heads[n](x) for n, x in zip(HEADS, features, strict=False)]
        return [*own, model.head(torch.cat(features, 1))]

    weights, first, trace = torch.ones(3), None, []
    for inputs, labels in batches:
        with torch.no_grad():
            model.eval()
            dev, train = (
                torch.stack([loss_of(z, y) for z in logits_of(*x)]) for x, y in (val[0], batches[0])
            )
            model.train()
        first = first or (train, dev)
        factors = rebalancing_factors(*first, train, dev)
        trace.append(weights.tolist())
        logits = logits_of(*inputs)
        optimizer.zero_grad()
        torch.stack([loss_of(w * z, labels) for w, z in zip(weights, logits, strict=True)]).sum(
            0
        ).backward()
        leaf = weights.clone().requires_grad_()
        norms = torch.stack([formulas.logit_norm(z.detach()) for z in logits])
        objective = modulation_loss(leaf, norms, factors)
        if official:
            for w, z in zip(leaf, logits, strict=True):
                objective = objective + loss_of(w * z.detach(), labels)
        weights = (weights - 0.02 * torch.autograd.grad(objective, leaf)[0]).clamp_min(LEAST)
        optimizer.step()
    found = fit.history["step_logit_coefficient"].values
    torch.testing.assert_close(torch.tensor(found).float(), torch.tensor(trace))
    torch.testing.assert_close(
        torch.tensor(fit.history["logit_coefficient"].values[-1]).float(), weights
    )
    for name, value in model.state_dict().items():
        torch.testing.assert_close(start.state_dict()[name], value)


def initial_heads(batches):
    """The heads that a training with this seed begins with."""
    stopped = fitted("multi_loss", batches, model_of(), epochs=1, optimizer=partial(sgd, lr=0.0))
    return {name: head[1].state_dict() for name, head in stopped.heads.items()}


def test_micro_batches_add_up_to_one_step():
    def coefficients(size, accumulate):
        fit = fitted(
            loader=loader_of(size), model=model_of(), accumulate=accumulate, lr=0.05, epochs=1
        )
        return torch.tensor(fit.history["step_logit_coefficient"].values)

    torch.testing.assert_close(coefficients(8, 1), coefficients(4, 2))


def test_what_is_measured_is_in_the_history():
    history = fitted(every=2).history
    for name in ("logit_coefficient", "rebalancing_factor", "logit_norm", "head_val_loss"):
        assert history[f"step_{name}"].dims == ("step", "head")
        assert history[f"step_{name}"]["head"].values.tolist() == HEADS
    assert history["step_head_val_loss"].notnull().all("head").values.tolist() == [True, False] * 3
    assert history["step_rebalancing_factor"][0].values == pytest.approx([1 / 3] * 3)
    assert (history["step_logit_coefficient"][0] == 1).all()
    assert history["logit_coefficient"].dims == ("epoch", "head")


def test_a_recipe_can_train_twice():
    recipe = Olm(val=held_out(), lr=0.1, every=2)
    assert same(ends(fitted(recipe)), ends(fitted(recipe)))
    assert set(recipe.coefficients) == set(HEADS)


def test_the_loaders_are_told_by_their_kind():
    assert Olm(val=held_out()).settings()["val"] == "DataLoader"
    assert Olm(val=[]).settings() | {"val": None} == Olm().settings()
    assert Olm().wants() == {Want.HEADS}


def prepared(**settings):
    torch.manual_seed(0)  # of the heads
    run = run_of()
    recipe = Olm(**{"val": [batch_of(run, seed=1)], "train": [batch_of(run)], **settings})
    recipe.on_fit_start(run)
    return recipe, run


def seen(recipe, run, part=slice(None)):
    inputs, labels = recipe.on_batch(run, *batch_of(run, seed=2))
    inputs, labels = {name: x[part] for name, x in inputs.items()}, labels[part]
    features = {name: run.model.get_submodule(name)(inputs[name]) for name in run.modalities}
    own = run.heads(features)
    given = seen_of({}, labels=labels, logits=run.model(**inputs), modality_logits=own)
    recipe.on_loss(run, given, torch.tensor(0.0))
    return given


def stepped(recipe, run, parts=(slice(None),)):
    for part in parts:
        last = seen(recipe, run, part)
    recipe.on_gradients(run, last)
    recipe.on_step_end(run)
    return torch.stack([*recipe.coefficients.values()])


def test_a_step_that_the_optimizer_left_out_moves_no_coefficient():
    recipe, run = prepared(lr=0.1)
    run.skipped = torch.tensor(True)
    stepped(recipe, run)
    assert {w.item() for w in recipe.coefficients.values()} == {1.0}
    run.skipped = torch.tensor(False)
    stepped(recipe, run)
    assert all(w.item() != 1.0 for w in recipe.coefficients.values())


def test_micro_batches_count_by_their_examples():
    whole, parts = prepared(lr=0.1), prepared(lr=0.1)
    found = stepped(*parts, [slice(0, 2), slice(2, None)])
    torch.testing.assert_close(found, stepped(*whole))


def test_losses_are_measured_once_per_step(monkeypatch):
    asked = []
    losses = FixedExamples.losses
    monkeypatch.setattr(FixedExamples, "losses", lambda *a: asked.append(1) or losses(*a))
    fitted(loader=loader_of(4), accumulate=2, every=1, epochs=1)
    assert len(asked) == 2 * 3


def test_heads_are_measured_in_eval_mode():
    heads = {n: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4)) for n in HEADS[:2]}
    recipe, run = prepared()
    run.heads = UnimodalHeads(heads).train()
    first, again = (recipe._losses._parts[0].losses(run) for _ in range(2))
    assert torch.equal(first, again)
    assert run.heads["audio"].training


def test_coefficients_stay_positive():
    recipe, run = prepared(lr=100.0)
    stepped(recipe, run)
    assert min(w.item() for w in recipe.coefficients.values()) == pytest.approx(LEAST)


def test_measuring_leaves_no_trace():
    recipe, run = prepared()
    with assert_passive(run.model):
        recipe.on_batch(run, *batch_of(run))


def test_the_examples_are_the_same_whatever_was_drawn_before():
    loader = loader_of(4, 24, shuffle=True, generator=torch.Generator().manual_seed(1))
    state, first = loader.generator.get_state(), FixedExamples(loader, 2, split=None, name="val")
    assert torch.equal(loader.generator.get_state(), state)
    list(loader)
    again = FixedExamples(loader, 2, split=None, name="val")
    assert [len(labels) for _, labels in first.batches] == [4, 4]
    for (_, one), (_, other) in zip(first.batches, again.batches, strict=True):
        assert torch.equal(one, other)


def test_missing_examples_are_asked_for():
    with pytest.raises(SettingError, match=r"Pass val=, a loader of examples that are neither"):
        recipes.apply("olm", model_of(), loader_of(), epochs=1)
    with pytest.raises(SettingError, match=r"Pass train=, the loader"):
        recipes.attach("olm", model_of(), next(iter(loader_of()))[:2], val=held_out())
    with pytest.raises(BatchError, match="val gave no batch"):
        fitted(val=[])
    with pytest.raises(BatchError, match="val gave no labels"):
        fitted(val=[{"audio": torch.ones(2, 5), "visual": torch.ones(2, 4)}])
    with pytest.raises(BatchError, match="Label 9 is out of range"):
        fitted(val=[(torch.ones(1, 5), torch.ones(1, 4), torch.tensor([9]))])


@pytest.mark.parametrize(
    "setting", [{"lr": -1}, {"form": "signed"}, {"every": 0}, {"eval_batches": 0.5}]
)
def test_a_value_that_is_not_allowed_is_refused(setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        Olm(**setting)


def test_several_labels_per_example_are_understood():
    data = [(*inputs, nn.functional.one_hot(labels, 3).float()) for *inputs, labels in loader_of()]
    loss = nn.functional.binary_cross_entropy_with_logits
    fit = fitted(loader=data, val=data[:1], loss=loss, lr=0.05)
    assert (fit.history["logit_coefficient"] != 1).all()


def test_scaled_logits_change_confidence_and_no_prediction():
    fit = fitted()
    *inputs, _ = next(iter(held_out()))
    plain, louder = fit.model.eval(), scaled(fit.model, fit.history["logit_coefficient"][-1, -1])
    assert torch.equal(louder(*inputs).argmax(1), plain(*inputs).argmax(1))
    ratio = louder(*inputs) / plain(*inputs)
    assert ratio.flatten().tolist() == pytest.approx([float(louder.coefficient)] * ratio.numel())
    other = scaled(model_of(AudioVisual, norm=True, seed=9), 1.0).eval()
    other.load_state_dict(louder.state_dict())
    assert torch.equal(pickle.loads(pickle.dumps(other))(*inputs), louder(*inputs))


def test_logits_are_found_in_an_output_of_several_parts():
    class Two(nn.Module):
        def forward(self, x):
            return {"features": x, "logits": 2 * x}

    x = torch.ones(2, 3)
    assert torch.equal(scaled(Two(), 3)(x), 6 * x)
    assert torch.equal(scaled(Two(), 3, logits=lambda given: given["features"])(x), 3 * x)
    with pytest.raises(SettingError, match="coefficient must be above 0"):
        scaled(Two(), 0)


def test_a_step_between_two_measurements_reads_no_number():
    with FakeTensorMode():
        recipe, run = prepared(official_grad=True)
        recipe._losses.look = lambda _: False  # it is asked of the host how the model is
        for _ in range(2):
            stepped(recipe, run)
