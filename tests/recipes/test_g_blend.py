"""G-Blend: weights as the paper has them, from heads trained alone and nothing else touched."""

import copy
import functools
import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

import recipes
from imbalance_lens import Anatomy, schema
from imbalance_lens.errors import BatchError, CheckpointError, SettingError, TrainingError
from imbalance_lens.testing import (
    PlantedData,
    PlantedModel,
    assert_passive,
    assert_recipe_contract,
    planted,
)
from recipes._estimation import rebound
from recipes._parts import held_out, share_of
from recipes.g_blend import (
    GBlend,
    blend_weights,
    correlated_weights,
    estimate_weights,
    super_epochs,
)

from ..golden import NUMBERS
from .hand_made import run_of, seen_of

SGD = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)
estimated = functools.partial(estimate_weights, optimizer=SGD, progress=False)
HEADS = ["audio", "visual", "joint"]


def numbers(weights):
    return {name: weight.item() for name, weight in weights.items()}


def terms(losses):
    """G and O from T, V before and after, as the paper's eq. 3 and its appendix have them."""
    gained = {name: v - v_after for name, (_, v, _, v_after) in losses.items()}
    paid = {
        name: (v_after - t_after) - (v - t) for name, (t, v, t_after, v_after) in losses.items()
    }
    return gained, paid


# --- formulas


def test_weights_are_the_golden_ones():
    golden = NUMBERS["gblend"]
    gained, paid = terms(golden["L (T_N,V_N,T_N+n,V_N+n)"])
    assert gained == pytest.approx(golden["G"])
    assert paid == pytest.approx(golden["O"])
    assert numbers(blend_weights(gained, paid)) == pytest.approx(golden["w"], abs=1e-6)
    assert numbers(blend_weights(gained, paid, raw=True)) == pytest.approx(golden["w"], abs=1e-6)


@pytest.mark.parametrize("floor", [0.1, 0.01])
def test_a_head_that_got_worse_gets_nothing_and_one_without_overfitting_not_all(floor):
    golden = NUMBERS["gblend_edge"]
    wanted = golden[f"safe(kappa={str(floor).lstrip('0')})"]
    found = numbers(blend_weights(*terms(golden["L"]), floor=floor))
    assert found == pytest.approx(wanted, abs=1e-6)


def test_all_weights_are_equal_where_no_head_got_better():
    golden = NUMBERS["gblend_edge"]["all G<=0"]
    found = blend_weights({"a": -0.3, "v": 0.0}, {"a": 1.0, "v": 0.1})
    assert numbers(found) == golden


def test_raw_weights_are_the_equation_as_it_stands():
    gained, paid = {"a": -1.0, "j": 3.0}, {"a": 1.0, "j": 1.0}
    assert numbers(blend_weights(gained, paid, raw=True)) == {"a": -0.5, "j": 1.5}
    assert numbers(blend_weights(gained, paid)) == {"a": 0.0, "j": 1.0}


amounts = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=6))
def test_weights_are_never_negative_and_sum_to_one_in_any_order(pairs):
    gained = {f"head {k}": gain for k, (gain, _) in enumerate(pairs)}
    paid = {f"head {k}": price for k, (_, price) in enumerate(pairs)}
    found = numbers(blend_weights(gained, paid))
    assert min(found.values()) >= 0
    assert sum(found.values()) == pytest.approx(1)
    turned = numbers(blend_weights(dict(reversed(gained.items())), paid))
    assert turned == pytest.approx(found)
    assert numbers(
        blend_weights({n: 8 * g for n, g in gained.items()}, {n: 8 * p for n, p in paid.items()})
    ) == pytest.approx(found)


@given(amounts, amounts, st.integers(1, 7))
def test_heads_that_are_the_same_weigh_the_same(gain, price, count):
    names = [f"head {k}" for k in range(count)]
    found = blend_weights(dict.fromkeys(names, gain), dict.fromkeys(names, price))
    assert list(numbers(found).values()) == pytest.approx([1 / count] * count, rel=1e-15)
    assert len(set(numbers(found).values())) == 1


@pytest.mark.parametrize("where", ["gained", "paid"])
def test_what_is_no_number_is_not_hidden(where):
    gained, paid = {"a": -1.0, "j": 3.0}, {"a": 1.0, "j": 1.0}
    (gained if where == "gained" else paid)["a"] = float("nan")
    assert all(np.isnan(w) for w in numbers(blend_weights(gained, paid)).values())
    overlap = torch.diag(torch.tensor(list(paid.values())))
    assert all(np.isnan(w) for w in numbers(correlated_weights(gained, overlap)).values())


def test_correlated_weights_are_the_golden_ones():
    golden = NUMBERS["gblend_corr"]
    gain = dict(zip("ab", golden["g=<gradL*,v>"], strict=True))
    overlap = torch.tensor(golden["Sigma"])
    for signed in (False, True):
        found = numbers(correlated_weights(gain, overlap, signed=signed))
        assert list(found.values()) == pytest.approx(golden["w_corr (sum1)"])
    ratio = squared_ratio(torch.tensor(list(found.values())), gain, overlap)
    assert ratio == pytest.approx(golden["OGR2 at w_corr"], abs=1e-6)


def squared_ratio(weights, gain, overlap):
    g = torch.tensor(list(gain.values()), dtype=torch.float64)
    w = weights.double()
    return (torch.einsum("...i,ij,...j->...", w, overlap.double(), w) / (w @ g) ** 2).numpy()


@pytest.mark.parametrize("seed", range(8))
def test_no_random_weights_have_a_lower_ratio_than_the_correlated_ones(seed):
    draw = torch.Generator().manual_seed(seed)
    half = torch.randn(4, 4, generator=draw, dtype=torch.float64)
    overlap = half @ half.T + 0.01 * torch.eye(4)
    gain = dict(zip("abcd", torch.randn(4, generator=draw).add(0.5).tolist(), strict=True))
    tried = torch.randn(5000, 4, generator=draw, dtype=torch.float64)
    for signed, others in ((True, tried), (False, tried.abs())):
        best = torch.stack(list(correlated_weights(gain, overlap, signed=signed).values()))
        assert best.sum().item() == pytest.approx(1)
        assert signed or best.min() >= 0
        others = others[others @ torch.tensor(list(gain.values()), dtype=torch.float64) > 0]
        lowest = squared_ratio(others, gain, overlap).min()
        assert squared_ratio(best, gain, overlap) <= lowest * (1 + 1e-9)


def test_super_epochs_are_the_golden_ones():
    golden = NUMBERS["gblend_sched"]
    assert [list(s) for s in super_epochs(45)] == golden["N=45,warm=10,n=5"]
    assert [list(s) for s in super_epochs(12)] == golden["N=12,warm=10,n=5"]
    assert super_epochs(3) == [(0, 3)]


def test_formulas_refuse_what_they_cannot_use():
    with pytest.raises(SettingError, match=r"overfitting must have the heads \['a'\]; got \['b'\]"):
        blend_weights({"a": 1.0}, {"b": 1.0})
    with pytest.raises(SettingError, match="names no head"):
        blend_weights({}, {})
    with pytest.raises(SettingError, match="floor must be above 0"):
        blend_weights({"a": 1.0}, {"a": 1.0}, floor=0)
    with pytest.raises(SettingError, match="covariance must be"):
        correlated_weights({"a": 1.0}, torch.eye(2))
    with pytest.raises(SettingError, match="positive definite"):
        correlated_weights({"a": 1.0, "b": 1.0}, torch.ones(2, 2))


# --- estimates


class Noisy(nn.Module):
    """BatchNorm, dropout and a counter of calls in every encoder."""

    def __init__(self, modalities=("audio", "visual")):
        super().__init__()
        self.modalities = modalities
        for name in modalities:
            self.add_module(name, Counted())
        self.head = nn.Linear(8 * len(modalities), 4)

    def forward(self, **inputs):
        features = [self.get_submodule(name)(inputs[name]) for name in self.modalities]
        return self.head(torch.cat(features, dim=1))


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.3)
        )
        self.examples = ExamplesSeen()

    def forward(self, x):
        if self.training:
            self.examples.count += len(x)
        return self.layers(x)


class ExamplesSeen:
    """Shared among copies, so that what copies do is counted too."""

    count = 0

    def __deepcopy__(self, memo):
        return self


def noisy(examples=96, **options):
    torch.manual_seed(0)
    signal = {"audio": 2.0, "visual": 0.7}
    data = PlantedData(signal, examples=examples)
    return Noisy(), DataLoader(data, 16, **{"shuffle": True, **options})


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


def test_an_interrupted_estimate_goes_on_with_its_first_unfinished_head(tmp_path):
    model, loader = noisy()
    whole = estimated(model, loader, epochs=2)
    calls = itertools.count()

    def until(last):
        def loss(logits, labels):
            if next(calls) == last:
                raise KeyboardInterrupt
            return nn.functional.cross_entropy(logits, labels)

        return loss

    batches = 6  # of 86 examples
    with pytest.raises(KeyboardInterrupt):
        estimated(model, loader, epochs=2, folder=tmp_path, loss=until(2 * batches + 3))
    calls = itertools.count()
    resumed = estimated(model, loader, epochs=2, folder=tmp_path, loss=until(-1))
    assert next(calls) == 2 * 2 * batches  # the visual and the joint head
    assert resumed.dataset.identical(whole.dataset)
    calls = itertools.count()
    estimated(model, loader, epochs=2, folder=tmp_path, loss=until(-1))
    assert next(calls) == 0
    with torch.no_grad():
        model.head.bias.add_(1)
    estimated(model, loader, epochs=2, folder=tmp_path, loss=until(-1))
    assert next(calls) > 2 * batches  # of another state, so from the start
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    with pytest.raises(CheckpointError, match="Remove it"):
        estimated(model, loader, epochs=2, folder=tmp_path)


def test_schedulers_go_on_in_the_copies():
    model, loader = planted("audio", examples=64)
    only_at_first = functools.partial(
        torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda epoch: float(epoch == 0)
    )
    stopped = estimated(model, loader, epochs=3, scheduler=only_at_first)
    one = estimated(model, loader, epochs=1)
    more = estimated(model, loader, epochs=3)
    assert stopped.weights == one.weights
    assert more.weights != one.weights


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=50),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [
                torch.optim.lr_scheduler.ConstantLR(o),
                torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
            ],
            milestones=[1],
        ),
        lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o),
    ],
)
@pytest.mark.parametrize("optimizer", [SGD, torch.optim.AdamW])
def test_copies_of_schedulers_leave_the_training_s_own_alone(make, optimizer):
    model, loader = planted("audio", examples=64)
    made = optimizer(model.parameters(), lr=0.1)
    scheduler = make(made)
    before = copy.deepcopy((made.state_dict(), scheduler.state_dict()))
    twin_model = copy.deepcopy(model)
    twin, following = rebound(made, scheduler, (model, twin_model))
    assert [p for g in twin.param_groups for p in g["params"]] == list(twin_model.parameters())
    assert following.optimizer is twin
    estimated(model, loader, epochs=2, optimizer=made)
    assert repr((made.state_dict(), scheduler.state_dict())) == repr(before)


def test_held_out_examples_are_others_and_always_the_same():
    data = list(range(50))
    loader = DataLoader(data, 8, shuffle=True)
    rest, held = held_out(loader, 0.1, 0)
    kept, left = (torch.cat(list(part)).tolist() for part in (rest, held))
    assert sorted(kept + left) == data
    assert len(left) == 5
    assert torch.cat(list(held_out(loader, 0.1, 0)[1])).tolist() == left
    assert torch.cat(list(held_out(loader, 0.1, 1)[1])).tolist() != left
    quarter = torch.cat(list(share_of(rest, 0.25, 0))).tolist()
    assert len(quarter) == 11
    assert set(quarter) <= set(kept)


class Endless(IterableDataset):
    def __iter__(self):
        yield from PlantedData({"audio": 1.0, "visual": 1.0}, examples=32)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda data: list(DataLoader(data, 8)), "a list"),
        (lambda _: DataLoader(Endless(), 8), "a DataLoader of a Endless without numbers"),
        (
            lambda data: DataLoader(data, 8, sampler=WeightedRandomSampler([1.0] * 32, 32)),
            "a WeightedRandomSampler that decides itself",
        ),
    ],
)
def test_only_numbered_examples_can_be_held_out(make, what):
    model, plain = planted("audio", examples=32)
    with pytest.raises(BatchError, match=f"{what}.*val="):
        estimated(model, make(plain.dataset), epochs=1)
    found = estimated(model, make(plain.dataset), plain, epochs=1)
    assert sum(found.weights.values()) == pytest.approx(1)


def test_estimates_refuse_what_they_cannot_use():
    model, loader = planted("audio", examples=32)
    for wrong in ({"measure": "f1"}, {"solution": "best"}, {"floor": 0}, {"fraction": 0}):
        with pytest.raises(SettingError):
            estimated(model, loader, epochs=1, **wrong)
    with pytest.raises(SettingError, match="epochs must be a whole number"):
        estimated(model, loader, epochs=0)
    with pytest.raises(BatchError, match="held out"):
        estimated(
            model, DataLoader(PlantedData({"audio": 1.0, "visual": 1.0}, examples=1)), epochs=1
        )
    with pytest.raises(TrainingError, match=r"'audio' trained alone .* is no number"):
        estimated(model, loader, epochs=2, optimizer=functools.partial(torch.optim.SGD, lr=1e30))

    class Several(Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, index):
            return {"audio": torch.zeros(4), "visual": torch.zeros(4)}, torch.zeros(4)

    with pytest.raises(BatchError, match="class indices"):
        estimated(model, DataLoader(Several(), 8), epochs=1)
    model.held = (i for i in range(3))
    with pytest.raises(SettingError, match="PlantedModel cannot be copied"):
        estimated(model, loader, epochs=1)


# --- the recipe


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
