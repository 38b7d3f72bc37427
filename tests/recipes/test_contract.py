"""Every recipe keeps what recipes promise, and the check says so when one does not."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import recipes
from imbalance_lens.testing import assert_recipe_contract
from recipes import _registry

from .gated import batches_of, net
from .trainings import AudioVisual, loader_of

NEUTRAL: dict[str, dict[str, Any]] = {
    "none": {"neutral": {}},
    "multi_loss": {"neutral": {}, "baseline": "multi_loss"},
    "ogm_ge": {"neutral": {"alpha": 0.0, "noise": False}},
    "opm": {"neutral": {"q_base": 0.0}},
    "mlb": {"neutral": {"alpha": 0.0}, "baseline": "multi_loss"},
    "mod_drop": {"neutral": {"p": 0.0}},
    "agm": {"neutral": {"alpha": 0.0}},
    "mslr": {
        "neutral": {"rates": {"audio": 1.0, "visual": 1.0}},
        "rates": {"audio": 0.5, "visual": 2.0},
    },
    "fust": {"masking": "none", "unimodal_epochs": 1},
    "greedy": {"neutral": {"alpha": math.inf}, "alpha": 0.0, "window": 2, "warmup": 0},
}
"""Settings with which a recipe changes nothing, and what it then is; others have none. Settings of
one whose defaults need the bundled loop."""


def normalized() -> tuple[AudioVisual, list]:
    """A model with batch normalization, for recipes that act on it."""
    batches = [({"audio": a, "visual": v}, y) for a, v, y in loader_of(8, 32)]
    torch.manual_seed(0)
    return AudioVisual(norm=True), batches


TRIALS = {"abri": normalized, "greedy": lambda: (net(), batches_of())}
"""Models for recipes that not every model will do for."""


NEED_MORE = ("g_blend", "olm")
"""Recipes that need more data than a training loader; they have tests of their own."""


@pytest.mark.parametrize("name", [name for name in recipes.names() if name not in NEED_MORE])
def test_every_recipe_keeps_its_contract(name: str) -> None:
    assert_recipe_contract(name, trial=TRIALS.get(name), **NEUTRAL.get(name, {}))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ogm_ge", {"apply_to": "grad", "form": "cvpr"}),
        ("opm", {"lag": 1, "scale": "theta"}),
        ("mlb", {"alpha": 2.0}),
    ],
)
def test_three_modalities_and_other_settings_keep_it(name: str, settings: dict) -> None:
    assert_recipe_contract(name, modalities=("a", "b", "c"), **settings)


def card(events: tuple[str, ...] = (), touches: tuple[str, ...] = ()) -> recipes.Card:
    return recipes.Card("Bad", "", "", events, touches, "", "")


@dataclass(eq=False, kw_only=True)
class Undeclared(recipes.Recipe):
    card = card()

    def on_loss(self, run: Any, seen: Any, loss: Any) -> Any:
        return loss * 2


@dataclass(eq=False, kw_only=True)
class IdlyDeclared(recipes.Recipe):
    card = card(("on_loss",), ("loss",))

    def on_loss(self, run: Any, seen: Any, loss: Any) -> Any:
        return loss


@dataclass(eq=False, kw_only=True)
class HeadToo(recipes.Recipe):
    card = card(("on_gradients",), ("encoder gradients",))

    def on_gradients(self, run: Any, seen: Any) -> None:
        for parameter in run.model.parameters():
            parameter.grad.mul_(0.5)


@dataclass(eq=False, kw_only=True)
class Litters(recipes.Recipe):
    card = card(("on_fit_start",))

    def on_fit_start(self, run: Any) -> None:
        run.model.litter = True


@dataclass(eq=False, kw_only=True)
class Forgetful(recipes.Recipe):
    """Has a state that it does not give away."""

    card = card(("on_fit_start", "on_loss"), ("loss",))

    def on_fit_start(self, run: Any) -> None:
        self.steps = 0

    def on_loss(self, run: Any, seen: Any, loss: Any) -> Any:
        self.steps += 1
        return loss * self.steps


@dataclass(eq=False, kw_only=True)
class Moody(recipes.Recipe):
    card = card(("on_loss",), ("loss",))

    def on_loss(self, run: Any, seen: Any, loss: Any) -> Any:
        return loss * MOOD.uniform_(generator=DRAW)


@dataclass(eq=False, kw_only=True)
class NotNeutral(recipes.Recipe):
    strength: float = 1.0
    card = card(("on_features",), ("features",))

    def on_features(self, run: Any, modality: str, features: Any) -> Any:
        return features * (1.0 + 1e-3 * (1 + self.strength))


@dataclass(eq=False, kw_only=True)
class Halting(recipes.Recipe):
    card = card(("on_loss",), ("loss",))

    def on_loss(self, run: Any, seen: Any, loss: Any) -> Any:
        return loss * 0


@dataclass(eq=False, kw_only=True)
class Updating(recipes.Recipe):
    card = card(("on_step_end",))

    def on_step_end(self, run: Any) -> None:
        with torch.no_grad():
            run.model.head.bias.add_(1)


MOOD, DRAW = torch.ones(()), torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        (Undeclared, r"says that it acts at \[\], and it acts at \['on_loss'\]"),
        (Undeclared, "it changes loss, and its card says nothing"),
        (IdlyDeclared, "says that it changes loss, and it does not"),
        (HeadToo, "it changes the gradient of head.bias, the gradient of head.weight"),
        (Litters, "after its end it leaves attributes of the model"),
        (Litters, "after an error it leaves attributes of the model"),
        (Forgetful, "resumed, it ends elsewhere"),
        (Moody, "two trainings with the same seed differ"),
        (NotNeutral, "with {'strength': 0.0} it does not equal 'none'"),
        (Halting, "it trains nothing"),
        (Updating, "it changes the update of head.bias"),
    ],
)
def test_a_broken_promise_is_told(recipe: Any, complaint: str, monkeypatch) -> None:
    monkeypatch.setattr(_registry, "_ADDED", {})
    recipes.add("bad", recipe)
    neutral = {"strength": 0.0} if recipe is NotNeutral else None
    with pytest.raises(AssertionError, match=complaint):
        assert_recipe_contract("bad", neutral=neutral)
