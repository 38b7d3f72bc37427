"""What every recipe promises, and how a recipe breaks it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ._attach import attach
from ._base import Recipe
from ._registry import get
from ._tasks import default_loss
from ._training.apply import apply
from ._training.fit import Fit
from ._treatment import Treatment

EVENTS = tuple(name for name in vars(Recipe) if name.startswith("on_"))
"""The names of all events."""


RATE = 0.1
"""The learning rate of the trainings."""


PACE = {"encoder gradients", "encoder updates"}
"""Two ways of changing an encoder's pace."""


class _StoppedError(Exception):
    """Breaks a training off."""


@dataclass(frozen=True)
class Contract:
    """Checks one recipe, with some settings, on one model.

    Attributes:
        trial: gives the model and its data, the same at each call.
        name: of the recipe.
        settings: of the recipe.
    """

    trial: Callable[[], tuple[nn.Module, Iterable[Any]]]
    name: str
    settings: Mapping[str, Any]

    def breaches(self, neutral: Mapping[str, Any] | None, baseline: str) -> Iterator[str]:
        """Yield a sentence for each promise that is broken.

        Args:
            neutral: settings with which the recipe changes nothing; None: there are none.
            baseline: the recipe that it then equals.
        """
        yield from self._events()
        first, again = self._fit(), self._fit()
        before = _weights(self.trial()[0].named_parameters())
        after = _weights(first.model.named_parameters())
        if _same(before, after):
            yield "it trains nothing"
        if not all(tensor.isfinite().all() for tensor in after.values()):
            yield "it trains to weights that are no numbers"
        if not _same(_end(first), _end(again)):
            yield "two trainings with the same seed differ"
        if neutral is not None:
            plain, quiet = self._fit(baseline, {}), self._fit(self.name, neutral)
            if not _same(_end(plain), _end(quiet)):
                yield f"with {dict(neutral)} it does not equal {baseline!r}"
        yield from self._interrupted(_end(first))
        yield from self._touches()

    def _events(self) -> Iterator[str]:
        recipe = get(self.name)
        own = {event for event in EVENTS if getattr(recipe, event) is not getattr(Recipe, event)}
        said = set(recipe.card.events)
        if own != said:
            yield f"its card says that it acts at {sorted(said)}, and it acts at {sorted(own)}"

    def _fit(
        self, name: str | None = None, settings: Mapping[str, Any] | None = None, **more: Any
    ) -> Fit:
        """Train a fresh model, by default with this recipe and its settings."""
        model, loader = self.trial()
        return self._trained(model, loader, name, settings, **more)

    def _trained(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Fit:
        given: dict[str, Any] = {
            "epochs": 2,
            "optimizer": partial(torch.optim.SGD, lr=RATE, momentum=0.9),
            "device": "cpu",
            "seed": 0,
            "progress": False,
            **(self.settings if settings is None else settings),
        }
        return apply(name or self.name, model, loader, **{**given, **more})

    def _interrupted(self, whole: Mapping[str, Tensor]) -> Iterator[str]:
        """Break a training off in its middle, look for what is left, and go on."""
        calls = 0

        @wraps(default_loss)  # a checkpoint knows its training by the name of the loss, too
        def breaking(logits: Tensor, labels: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == at:
                raise _StoppedError
            return default_loss(logits, labels)

        model, loader = self.trial()
        at = self._losses() * 2 // 3
        untouched = _traces(model)
        with tempfile.TemporaryDirectory() as place:
            kept: dict[str, Any] = {"checkpoint": Path(place) / "run", "checkpoint_every": 1}
            with suppress(_StoppedError):
                self._trained(model, loader, loss=breaking, **kept)
            if left := _left(untouched, _traces(model)):
                yield f"after an error it leaves {left}"
            if not _same(_end(self._fit(**kept)), whole):
                yield "resumed, it ends elsewhere than uninterrupted"
        model, loader = self.trial()
        self._trained(model, loader)
        if left := _left(untouched, _traces(model)):
            yield f"after its end it leaves {left}"

    def _touches(self) -> Iterator[str]:
        """Compare some steps with those of a twin that nobody touches."""
        model, loader = self.trial()
        said = set(get(self.name).card.touches)
        found: set[str] = set()
        trainable, twin = _trainable(model), deepcopy(model)
        batches = list(loader)[:3]
        with attach(self.name, model, batches[0][0], seed=0, **self.settings) as remedy:
            optimizer = torch.optim.SGD([*model.parameters(), *remedy.parameters()], lr=RATE)
            if _trainable(model) != trainable:
                found.add("parameters")
            if twin.state_dict().keys() != model.state_dict().keys():
                found.add("parameters")
                batches, said = [], said & {"parameters"}  # a plain twin says nothing of it
            for inputs, labels in batches:
                found |= set(_touched(model, twin, remedy, optimizer, inputs, labels))
        if extra := found - said:
            yield f"it changes {_listed(extra)}, and its card says {_listed(said)}"
        if found & PACE:
            found |= PACE  # settings decide which of them
        if missing := said - found - {"inputs"}:  # which may be changed in a later epoch only
            yield f"its card says that it changes {_listed(missing)}, and it does not"

    def _losses(self) -> int:
        """Return how often a training asks for a loss."""
        calls = 0

        def counting(logits: Tensor, labels: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return nn.functional.cross_entropy(logits, labels)

        self._fit(loss=counting)
        return calls


def _weights(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in named}


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _trainable(model: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in model.parameters()]


def _touched(
    model: nn.Module,
    twin: nn.Module,
    remedy: Treatment,
    optimizer: torch.optim.Optimizer,
    inputs: Mapping[str, Tensor],
    labels: Tensor,
) -> Iterator[str]:
    """Train a step, and yield what of it is not as it is in plain training."""
    twin.load_state_dict(model.state_dict())
    before = _weights(model.named_parameters())
    inputs, labels = remedy.batch(inputs, labels)
    logits = model(**inputs)
    if not torch.equal(logits, twin(**inputs)):
        yield "features"
    joint = nn.functional.cross_entropy(logits, labels)
    loss = remedy.loss(joint)
    if not torch.equal(loss, joint):
        yield "loss"
    optimizer.zero_grad()
    loss.backward()
    own = {id(p) for name in remedy.run.modalities for p in remedy.run.parameters(name)}
    owned = {name for name, parameter in model.named_parameters() if id(parameter) in own}
    computed = _gradients(model)
    remedy.gradients(optimizer)
    left = _gradients(model)
    for name in computed:
        if not torch.equal(computed[name], left[name]):
            yield "encoder gradients" if name in owned else f"the gradient of {name}"
    optimizer.step()
    for name, parameter in model.named_parameters():
        due = before[name] - RATE * left[name] if name in left else before[name]
        if not torch.allclose(parameter, due, rtol=1e-5, atol=1e-7):
            yield "encoder updates" if name in owned else f"the update of {name}"


def _end(fit: Fit) -> dict[str, Tensor]:
    """Return all that a training ends with, but for times."""
    end = _weights(fit.model.state_dict().items())
    for name, head in fit.heads.items():
        end |= {f"head of {name}: {path}": t for path, t in head.state_dict().items()}
    values = {name: torch.as_tensor(fit.history[name].values) for name in ("step_loss",)}
    return end | values


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _traces(model: nn.Module) -> dict[str, Any]:
    """Return what of a model an attachment may leave behind."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        found[f"attributes of {path or 'the model'}"] = type(module), sorted(vars(module))
        for kind, value in vars(module).items():
            if kind.endswith("_hooks"):
                found[f"{kind} of {path or 'the model'}"] = len(value)
    for path, parameter in model.named_parameters():
        found[f"requires_grad of {path}"] = parameter.requires_grad
    return found


def _left(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what is not as before; of parts that a recipe has put in, nothing is asked."""
    changed = [name for name in before if name in after and before[name] != after[name]]
    kept = [name for name in changed if not _put_in(before[name], after[name])]
    return _listed(kept) if kept else ""


def _put_in(before: Any, after: Any) -> bool:
    """Say whether another kind of module stands in the place of the one before."""
    return isinstance(before, tuple) and before[0] is not after[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
