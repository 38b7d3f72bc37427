"""One training of a comparison, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imbalance_lens.anatomy import Anatomy
from imbalance_lens.errors import SettingError
from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.loaders import loader_kept, pairs
from imbalance_lens.passes import who_is_who

from .._training.apply import apply
from .._training.fit import Fit
from .._training.seeds import seeded
from .choices import Choice
from .protocol import weights_hash
from .scores import scores_of

Loaders = Mapping[str, Iterable[Any]]
MakeModel = Callable[[], nn.Module]
MakeLoaders = Callable[[int], Loaders]

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Bench:
    """What all runs have in common.

    Attributes:
        model_factory: makes a new model.
        loaders: the same for all seeds, or a function of the seed.
        epochs: of each training.
        training: further arguments of `recipes.apply`.
    """

    model_factory: MakeModel
    loaders: Loaders | MakeLoaders
    epochs: int
    training: Mapping[str, Any]

    def data(self, seed: int) -> Loaders:
        """Return the loaders of a seed.

        Raises:
            SettingError: some are missing, unknown, or test data stands for validation data.
        """
        if callable(self.loaders):
            with seeded(seed):
                given = self.loaders(seed)
        else:
            given = self.loaders
        return _checked(given)

    def model(self, seed: int) -> nn.Module:
        """Return the model that every recipe begins with at this seed.

        Raises:
            SettingError: it is no model.
        """
        with seeded(seed):
            made = self.model_factory()
        if not isinstance(made, nn.Module):
            raise SettingError(
                f"model_factory gave a {type(made).__name__}. Let it return a new torch.nn.Module."
            )
        return made

    def start(self, seed: int) -> str:
        """Return the hash of the weights at the start, the same whenever they are made.

        Raises:
            SettingError: the factory does not give a new model, or not the same.
        """
        one, other = self.model(seed), self.model(seed)
        if one is other:
            raise SettingError(
                "model_factory gave the same model twice, so each training would go on where the "
                "last one ended. Let it make a new one."
            )
        first, second = weights_hash(one), weights_hash(other)
        if first != second:
            raise SettingError(
                "model_factory gave other weights when it was called again under the same seed, "
                "so recipes would not begin alike. Let it draw from torch's, numpy's or random's "
                "global generator."
            )
        return first

    def measure(self, choice: Choice, seed: int, data: Loaders) -> dict[str, Any]:
        """Train and measure; return scores, seconds, best epoch and notes."""
        model = self.model(seed)
        who = self._who(model, data)
        before = _joint_parameters(unwrap(model), who)
        begun = time.perf_counter()
        fit = self._fit(choice, model, who, seed, data)
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        seconds = time.perf_counter() - begun
        now = dict(fit.model.named_parameters())
        moved = [not torch.equal(old, now[n].cpu()) for n, old in before.items() if n in now]
        with _kept(data):
            scores, notes = scores_of(
                fit.model,
                data,
                who,
                joint_is_trained=any(moved) or not moved,
                split=self.training.get("split"),
                logits=self.training.get("logits"),
            )
        return {
            "modalities": list(who.modalities),
            "scores": scores,
            "seconds": seconds,
            "best_epoch": fit.best_epoch,
            "notes": notes,
        }

    def flops(self, choice: Choice, seed: int, data: Loaders) -> dict[str, Any]:
        """Return the floating-point operations of a whole training, counted while it runs."""
        model = self.model(seed)
        who = self._who(model, data)
        with FlopCounterMode(display=False) as counter:
            self._fit(choice, model, who, seed, data, compile=False)
        return {"flops": float(counter.get_total_flops())}

    def _fit(
        self,
        choice: Choice,
        model: nn.Module,
        who: Anatomy,
        seed: int,
        data: Loaders,
        **changed: Any,
    ) -> Fit:
        given = {**self.training, "anatomy": who, **changed}
        with _kept(data):
            return apply(
                choice.made(data.get("val")),
                model,
                data["train"],
                epochs=self.epochs,
                val_loader=data.get("val"),
                seed=seed,
                progress=False,
                **given,
            )

    def _who(self, model: nn.Module, data: Loaders) -> Anatomy:
        inner = unwrap(model)
        with _kept(data), frozen(inner):
            inputs, _ = next(pairs(data["test"], self.training.get("split")))
            return who_is_who(inner, self.training.get("anatomy"), inputs)


def _kept(data: Loaders) -> ExitStack:
    """Give back the generators of all loaders: no run hangs on those before it."""
    stack = ExitStack()
    for loader in data.values():
        stack.enter_context(loader_kept(loader))
    return stack


def _joint_parameters(model: nn.Module, who: Anatomy) -> dict[str, Tensor]:
    """Return copies of the trainable parameters that no single modality owns."""
    owned = {id(p) for name in who.modalities for p in who.parameters(model, name)}
    return {
        name: parameter.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        if id(parameter) not in owned and parameter.requires_grad
    }


def _checked(given: Any) -> Loaders:
    if not isinstance(given, Mapping) or not {"train", "test"} <= given.keys() <= set(PARTS):
        told = ", ".join(map(repr, given)) if isinstance(given, Mapping) else type(given).__name__
        raise SettingError(
            f"loaders is {told}. Give a mapping with 'train', 'test' and, where the best epoch is "
            "to be kept, 'val', or a function of the seed that returns one."
        )
    present = {name: loader for name, loader in given.items() if loader is not None}
    for one, other in (("test", "val"), ("test", "train"), ("val", "train")):
        if one in present and other in present and _data(present[one]) is _data(present[other]):
            raise SettingError(
                f"{one!r} and {other!r} are the same examples, so the scores would be too good. "
                "Give examples that are in one of them only."
            )
    return present


def _data(loader: Iterable[Any]) -> Any:
    return getattr(loader, "dataset", loader)
