"""Greedy: who is held when, and what of it reaches the weights, against a training by hand."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import recipes
from imbalance_lens import Anatomy
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.models import LateFusion, Mmtm, MmtmNet
from recipes._base import Run
from recipes._gate_means import transfers_of
from recipes.greedy import Greedy

from .gated import CLASSES, NAMES, batches_of, net

RATE = 0.2


def fitted(recipe: Any, count: int = 2, epochs: int = 3, **settings: Any) -> recipes.Fit:
    sgd = partial(torch.optim.SGD, lr=RATE)
    given: dict[str, Any] = {"optimizer": sgd, "seed": 0, "device": "cpu", **settings}
    return recipes.apply(recipe, net(count), batches_of(count), epochs=epochs, **given)


class ByHand:
    """The twin: one number after the other, decisions by if, and held gates by hand."""

    def __init__(self, count: int, alpha: float, window: int, warmup: int) -> None:
        self.model, self.names = net(count), NAMES[:count]
        self.alpha, self.window, self.warmup = alpha, window, warmup
        self.gates = dict.fromkeys(self.names, 0.0)
        self.networks = dict.fromkeys(self.names, 0.0)
        self.left, self.held = 0, ""
        self.kept: list[list[dict[str, Tensor]]] = [[], []]
        self.story: list[str] = []

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        found: list[dict[str, Tensor]] = []
        branches = {m: list(self.model.get_submodule(f"branches.{m}")) for m in self.names}  # pyright: ignore
        maps = {m: branches[m][0](inputs[m]) for m in self.names}
        for number, transfer in enumerate(self.model.transfers):
            assert isinstance(transfer, Mmtm)
            maps = {m: branches[m][1 + number](maps[m]) for m in self.names}
            joint = torch.relu(transfer.joint(torch.cat([maps[m].mean(2) for m in maps], dim=1)))
            gates = {m: transfer.gates[m](joint) for m in self.names}
            found.append({m: gate.detach() for m, gate in gates.items()})
            if self.held:
                before = torch.cat([row[self.held] for row in self.kept[number]])
                gates[self.held] = before.mean(0).expand_as(gates[self.held])
            maps = {m: maps[m] * gates[m][:, :, None] for m in self.names}
        for number, row in enumerate(found):
            self.kept[number].append(row)
        return sum(branches[m][-1](maps[m].mean(2)) for m in maps) / len(maps)  # pyright: ignore

    def speed(self, prefixes: list[str]) -> float:
        over = under = 0.0
        for name, parameter in self.model.named_parameters():
            if name.startswith(tuple(prefixes)):
                assert parameter.grad is not None
                over += sum(g * g for g in parameter.grad.flatten().tolist())
                under += sum(w * w for w in parameter.flatten().tolist())
        return over / under

    def decide(self, epoch: int) -> None:
        if self.left:
            self.left -= 1
            self.held = self.held if self.left else ""
            return
        for m in self.names:
            both = [f"transfers.{n}.{part}" for n in (0, 1) for part in ("joint", f"gates.{m}")]
            self.gates[m] += self.speed([f"{path}." for path in both])
            self.networks[m] += self.speed([f"branches.{m}."])
        speeds = {m: math.log10(self.gates[m] / self.networks[m]) for m in self.names}
        if epoch >= self.warmup and max(speeds.values()) - min(speeds.values()) > self.alpha:
            self.left, self.held = self.window, max(speeds, key=lambda m: speeds[m])

    def train(self, epochs: int) -> None:
        for epoch in range(epochs):
            for inputs, labels in batches_of(len(self.names)):
                self.story.append(self.held)
                self.model.zero_grad()
                nn.functional.cross_entropy(self.logits(inputs), labels).backward()
                self.decide(epoch)
                with torch.no_grad():
                    for parameter in self.model.parameters():
                        if parameter.grad is not None:  # else it is a held gate's
                            parameter -= RATE * parameter.grad


def story(fit: recipes.Fit) -> list[str]:
    """Who was held in each step."""
    held = fit.history["step_rebalanced"]
    names = held["modality"].values
    return ["".join(names[row == 1]) for row in held.values]


@pytest.mark.parametrize(
    ("count", "alpha", "window", "warmup"), [(2, 0.0, 2, 0), (2, 0.3, 3, 1), (3, 0.2, 2, 1)]
)
def test_a_training_equals_the_slow_twin(count, alpha, window, warmup):
    twin = ByHand(count, alpha, window, warmup)
    twin.train(3)
    fit = fitted(Greedy(alpha=alpha, window=window, warmup=warmup), count)
    assert story(fit) == twin.story
    assert any(twin.story)
    assert story(fit).count("") > len(twin.story) // 3 - 1
    speeds = [math.log10(twin.gates[m] / twin.networks[m]) for m in twin.names]
    assert fit.history["step_conditional_speed"].values[-1].tolist() == pytest.approx(speeds)
    for name, parameter in twin.model.named_parameters():
        torch.testing.assert_close(fit.model.get_parameter(name), parameter, rtol=1e-9, atol=1e-12)


def test_a_modality_is_held_for_a_window_and_then_seen_anew():
    told = story(fitted(Greedy(alpha=0.0, window=3, warmup=0)))
    assert [bool(held) for held in told] == ([False, True, True, True] * 5)[: len(told)]


def test_in_the_warm_up_and_after_the_last_epoch_nobody_is_held():
    fit = fitted(Greedy(alpha=0.0, window=2, warmup=1, end_epoch=1), epochs=3)
    told = story(fit)
    steps = len(batches_of(2))
    assert not any(told[: steps + 1])
    assert any(told[steps + 1 : 2 * steps])
    assert not any(told[2 * steps :])


def test_it_begins_in_its_first_epoch():
    late = fitted(Greedy(alpha=0.0, warmup=0, start_epoch=1), epochs=2).history["step_loss"]
    plain = fitted("none", epochs=2).history["step_loss"]
    same = (late == plain).values.tolist()
    steps = len(batches_of(2))
    assert same[: steps + 1] == [True] * (steps + 1)  # the first step only decides
    assert not any(same[steps + 1 :])


def test_who_is_held_hears_no_other_and_is_heard():
    model = net(2)
    inputs = batches_of(2)[0][0]
    other = {**inputs, "visual": inputs["visual"] + 1}
    recipe = Greedy()
    run = run_of(model)
    recipe.on_fit_start(run)
    gates = recipe._gates
    assert gates is not None
    model(**inputs)
    gates.totals = gates.taken()
    gates.held = torch.tensor([True, False])
    alone = [model.modality_logits(**given)["audio"] for given in (inputs, other)]
    assert torch.equal(*alone)
    visual = model.modality_logits(**inputs)["visual"]
    heard = model.modality_logits(**{**inputs, "audio": inputs["audio"] + 1})["visual"]
    assert not torch.equal(visual, heard)
    model.eval()
    free = [model.modality_logits(**given)["audio"] for given in (inputs, other)]
    assert not torch.equal(*free)
    recipe.on_fit_end(run)


def run_of(model: nn.Module, names: tuple[str, ...] = NAMES[:2], **fields: Any) -> Run:
    anatomy = Anatomy(encoders={name: f"branches.{name}" for name in names})
    return Run(model, anatomy, torch.Generator().manual_seed(0), **fields)


def step(recipe: Greedy, run: Run, number: int = 0) -> None:
    inputs, labels = batches_of(2, dtype=next(run.model.parameters()).dtype)[number]
    run.model.zero_grad()
    nn.functional.cross_entropy(run.model(**inputs), labels).backward()
    recipe.on_gradients(run, None)  # pyright: ignore - it looks at nothing there
    recipe.on_step_end(run)


def test_a_step_that_was_left_out_is_not_taken_in():
    run, recipe = run_of(net(2)), Greedy(alpha=0.0, warmup=0)
    recipe.on_fit_start(run)
    step(recipe, run)
    before = recipe.state_dict()
    run.skipped = torch.tensor(True)
    step(recipe, run, 1)
    after = recipe.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    run.skipped = torch.tensor(False)
    step(recipe, run, 1)
    assert not torch.equal(recipe.state_dict()["totals"], before["totals"])
    recipe.on_fit_end(run)


def test_a_step_reads_no_number():
    with FakeTensorMode():
        run, recipe = run_of(net(2, torch.float32)), Greedy(alpha=0.0, warmup=0)
        run.skipped = torch.tensor(False)
        recipe.on_fit_start(run)
        step(recipe, run)
        step(recipe, run, 1)
        recipe.on_fit_end(run)


def test_a_model_without_gates_is_refused():
    model = LateFusion.small(NAMES[:2], CLASSES)
    inputs = {name: torch.randn(4, 1, 8, 8) for name in NAMES[:2]}
    with pytest.raises(NotApplicableError, match=r"this model has no Mmtm\. Put imb"):
        recipes.attach("greedy", model, inputs)


class OwnTransfer(nn.Module):
    """Gates of somebody else's making."""

    def __init__(self, other: Mmtm) -> None:
        super().__init__()
        self.sizes, self.joint, self.gates = other.sizes, other.joint, other.gates

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        joint = self.joint(torch.cat([maps[m].mean(2) for m in self.sizes], dim=1)).relu()
        return {m: maps[m] * self.gates[m](joint)[:, :, None] for m in self.sizes}


def test_gates_of_another_make_are_known_by_what_they_have():
    model = net(2)
    for number, other in enumerate(model.transfers):
        assert isinstance(other, Mmtm)
        model.transfers[number] = OwnTransfer(other)
    settings: dict[str, Any] = {"epochs": 2, "seed": 0, "device": "cpu"}
    own = recipes.apply(Greedy(alpha=0.0), model, batches_of(2), **settings)
    plain = recipes.apply(Greedy(alpha=0.0), net(2), batches_of(2), **settings)
    assert own.history["step_conditional_speed"].equals(plain.history["step_conditional_speed"])
    assert any(story(own))


def test_what_has_the_same_names_for_other_things_is_no_gate():
    model = net(2)
    stage = model.get_submodule("branches.audio.0")
    stage.sizes, stage.joint, stage.gates = [3], nn.Identity(), nn.Linear(2, 2)  # pyright: ignore
    assert transfers_of(model) == list(model.transfers)


def test_a_network_that_is_frozen_is_refused():
    model = net(2)
    model.get_submodule("branches.visual").requires_grad_(False)
    with pytest.raises(NotApplicableError, match="'visual' has no network of its own that is tra"):
        recipes.attach("greedy", model, batches_of(2)[0][0])


def test_gates_that_are_frozen_are_refused():
    model = net(2)
    model.transfers.requires_grad_(False)
    with pytest.raises(NotApplicableError, match="'audio' has no gates of its own that is tra"):
        recipes.attach("greedy", model, batches_of(2)[0][0])


def test_gates_of_other_names_are_refused():
    model = net(2)
    with pytest.raises(SettingError, match="An Mmtm of the model names 'audio', 'visual'"):
        Greedy().on_fit_start(
            Run(
                model,
                Anatomy(encoders={"a": "branches.audio", "b": "branches.visual"}),
                torch.Generator(),
            )
        )


def test_a_model_is_as_it_was_where_a_training_is_refused():
    model = net(2)
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with pytest.raises(NotApplicableError):
        recipes.attach(["greedy", "mmcosine"], model, batches_of(2)[0][0])
    assert [len(module._forward_hooks) for module in model.modules()] == hooks


def test_it_trains_small_convolutional_networks_beside_another_recipe():
    torch.manual_seed(0)
    model = MmtmNet.small(NAMES[:2], CLASSES, width=2)
    inputs = {name: torch.randn(8, 1, 8, 9) for name in NAMES[:2]}
    batches = [(inputs, torch.arange(8) % CLASSES)] * 4
    fit = recipes.apply(
        ["greedy", "ogm_ge"], model, batches, epochs=1, warmup=0, window=1, seed=0, device="cpu"
    )
    assert any(story(fit))
    assert all(p.isfinite().all() for p in fit.model.parameters())
