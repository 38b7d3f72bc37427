"""Recipes attached to a model, in whatever loop trains it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.outputs import LogitsOf
from imbalance_lens.anatomy.staging import Compile, Staging, TrainingPass
from imbalance_lens.batches import device_of
from imbalance_lens.errors import NotAttachedError, SettingError
from imbalance_lens.hooks.optimizers import after_step, unwrap_optimizer
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.passes import who_is_who

from . import _tasks as tasks
from ._base import Recipe, Run, Seen, Want, acts_on
from ._compose import warn_of_clashes
from ._data.batches import TrainingLoader
from ._distributed import average_gradients_, shared_seed
from ._first_look import FirstLook, first_look, refuse_compiled
from ._groups import check_joined, check_wrapped
from ._history import History
from ._scores import StepScores, record_scores

Loss = Callable[[Tensor, Tensor], Tensor]
"""Gets logits (batch, classes) and labels; gives the mean loss of the batch, a scalar."""


class Treatment:
    """Recipes at work on a model; the loop says where it is, the recipes act.

    A loop calls, in this order: `batch` before the model, `loss` on what its criterion gave,
    `gradients` once per optimizer step between backward (and `unscale_`) and clipping, and
    `close_epoch`. The bundled loop does nothing else.

    A context manager: what was attached is gone afterwards. Cost: nothing for a recipe that reads
    no scores and trains no heads; otherwise a copy of the encoders' outputs, and for scores one
    product with the head's weights, or M + 1 passes of a head that is not linear.

    Attributes:
        run: what the recipes see.
        history: what was recorded, step by step.
        readout: how unimodal scores are read; "" where none are.
        logits_of: gets the logits out of what the model returns.
        classes: how many logits there are per example.
        parameter_groups: what recipes have made or want treated apart, for the optimizer.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        model: nn.Module,
        inputs: Any,
        *,
        anatomy: Anatomy | Mapping[str, str] | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        readout: str = "auto",
        logits: LogitsOf | None = None,
        loss: Loss | None = None,
        seed: int | None = None,
        compiled: Compile | None = None,
        data: TrainingLoader | None = None,
    ) -> None:
        refuse_compiled(model)
        warn_of_clashes(recipes)
        self.recipes = list(recipes)
        inner = unwrap(model)
        generator = torch.Generator(device_of(inner)).manual_seed(shared_seed(seed))
        who = who_is_who(inner, anatomy, inputs)
        self.run = Run(inner, who, generator, loss=loss or tasks.default_loss, data=data)
        self.history = History(who.modalities)
        self._wants = {want for recipe in recipes for want in recipe.wants()}
        self._attached = ExitStack()
        self._labels: Tensor | None = None
        self._listened: Optimizer | None = None
        self._staging: Staging | None = None
        self.run._record = self.history.record
        self.run._record_epoch = self.history.record_epoch
        self._last: Seen | None = None
        self._begun, self._ended = 0, False
        before = list(inner.parameters())
        try:
            for recipe in recipes:
                self._attached.callback(recipe.on_fit_end, self.run)
                recipe.on_fit_start(self.run)
            self.parameter_groups = [g for r in recipes for g in r.parameter_groups(self.run)]
            check_wrapped(model, self.parameter_groups, before)
            first = first_look(
                self.run, self._wants, inputs, heads=heads, readout=readout, logits=logits
            )
            self.logits_of, self.classes = first.logits_of, first.classes
            self.run.logits_of = first.logits_of
            self._scores, self.readout = StepScores(first.scorer), first.readout
            self._stage(first, compiled)
        except BaseException:
            self._attached.close()
            raise

    def __enter__(self) -> Self:
        if self._ended:
            raise NotAttachedError("The recipes gave back what they prepared. Attach them anew.")
        if self._staging is not None:
            self._attached.enter_context(self._staging.attached())
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        self._attached.close()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that are trained beside the model's: those of unimodal heads."""
        if self.run.heads is not None:
            yield from self.run.heads.parameters()

    def start_epoch(self) -> None:
        """Tell the recipes that an epoch begins."""
        for recipe in self._acting("on_epoch_start"):
            recipe.on_epoch_start(self.run)

    def batch(
        self, inputs: Any, labels: Tensor, numbers: Tensor | None = None
    ) -> tuple[Any, Tensor]:
        """Take a micro-batch before the model gets it, and return what the model is to get.

        Args:
            inputs: of the model.
            labels: (batch,) class indices, or what else the loss takes.
            numbers: (batch,) of the examples, the same in every epoch; for recipes that treat each
                example in its own way.

        Raises:
            SettingError: a recipe does not understand such labels.
        """
        if self._labels is None:
            self.run.regression = tasks.regression(labels, self.recipes)
        self.run.numbers = numbers
        for recipe in self._acting("on_batch"):
            inputs, labels = recipe.on_batch(self.run, inputs, labels)
        self._labels = labels
        self._scores.of_pass = {}
        self.run.step = self._begun
        return inputs, labels

    def loss(self, loss: Tensor) -> Tensor:
        """Return the loss of the micro-batch with the recipes' own terms.

        Args:
            loss: scalar, of the last training pass; not yet divided for accumulation.

        Raises:
            NotAttachedError: the model was not run on the batch, or not in train mode.
        """
        if self._staging is None:
            self.run.micro_step += 1
            return loss
        seen_pass = self._staging.last
        if seen_pass is None or self._labels is None:
            raise NotAttachedError(
                "No training pass was seen since the last call. Call remedy.batch(inputs, labels), "
                "then the model in train mode inside `with`, then remedy.loss(loss)."
            )
        self._staging.last = None
        features = self._features(seen_pass)
        labels = self._labels.to(next(iter(features.values())).device, non_blocking=True)
        own = self._head_logits(features)
        seen = Seen(
            labels=labels,
            logits=self.logits_of(seen_pass.output),
            features=features,
            modality_logits=own if Want.HEADS in self._wants else {},
            scores=self._scores.measure(
                seen_pass, features, labels, regression=self.run.regression, own=own
            ),
            examples=torch.tensor(len(labels)),
        )
        for recipe in self._acting("on_loss"):
            loss = recipe.on_loss(self.run, seen, loss)
        if own and Want.HEADS not in self._wants:
            loss = loss + sum(self.run.loss(logits, labels) for logits in own.values())
        self._scores.add(len(labels))
        self._last = seen
        self.run.micro_step += 1
        return loss

    def gradients(self, optimizer: Optimizer) -> None:
        """Let the recipes change the gradients of an optimizer step; before clipping.

        Args:
            optimizer: the one that is about to step, also as Accelerate wraps it.
        """
        if self._staging is not None and self._last is None:
            raise NotAttachedError("Call remedy.loss(loss) before remedy.gradients(optimizer).")
        self._listen(unwrap_optimizer(optimizer))
        self.history.step()
        self._begun += 1
        if self._last is None:  # nothing is attached
            return
        average_gradients_(self.parameters())
        scores, examples = self._scores.take()
        seen, self._last = replace(self._last, scores=scores, examples=examples), None
        if scores:
            record_scores(self.run, seen)
        for recipe in self._acting("on_gradients"):
            recipe.on_gradients(self.run, seen)

    def close_epoch(self) -> None:
        """Tell the recipes that an epoch has ended, and move what was recorded to the host."""
        self.end_epoch()
        self.history.close_epoch({})

    def end_epoch(self) -> None:
        """Tell the recipes that an epoch has ended; the history of it is closed by the caller."""
        for recipe in reversed(list(self._acting("on_epoch_end"))):
            recipe.on_epoch_end(self.run)
        self.run.epoch += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs, apart from the weights."""
        return {
            "recipes": {recipe.name: recipe.state_dict() for recipe in self.recipes},
            "run": self.run.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for recipe in self.recipes:
            recipe.load_state_dict(state["recipes"][recipe.name])
        self.run.load_state_dict(state["run"])
        self._begun = self.run.step

    def _stage(self, first: FirstLook, compiled: Compile | None) -> None:
        edits = any(acts_on(recipe, "on_features") for recipe in self.recipes)
        later = ("on_loss", "on_gradients")
        acts = any(acts_on(recipe, event) for recipe in self.recipes for event in later)
        if not (self._wants or edits or acts or self.run.heads or compiled):
            return
        self._staging = Staging(
            self.run.model,
            first.wiring,
            first.calls,
            edit=first.by_example(self._edit) if edits else None,
            between=self._between if Want.SCORES_BEFORE_FUSION in self._wants else None,
            compiled=compiled,
        )

    def _acting(self, event: str) -> Iterator[Recipe]:
        for recipe in self.recipes:
            if acts_on(recipe, event) and recipe.acts_in(self.run.epoch):
                yield recipe

    def _edit(self, modality: str, features: Tensor) -> Tensor:
        for recipe in self._acting("on_features"):
            features = recipe.on_features(self.run, modality, features)
        return features

    def _between(self, seen_pass: TrainingPass) -> None:
        if self._labels is None:
            raise NotAttachedError("Call remedy.batch(inputs, labels) before the model runs.")
        if not any(self._acting("on_features")):
            return
        features = self._features(seen_pass)
        labels = self._labels.to(next(iter(features.values())).device, non_blocking=True)
        self._scores.measure(seen_pass, features, labels, regression=self.run.regression)
        self.run.features, self.run.scores = features, self._scores.over_ranks()

    def _features(self, seen_pass: TrainingPass) -> dict[str, Tensor]:
        if self._staging is None:
            raise RuntimeError("nothing is attached, so there is no training pass")
        signals = self._staging.signals(seen_pass)
        return {modality: signals[modality][0] for modality in self.run.modalities}

    def _head_logits(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.run.heads is None:
            return {}
        if Want.HEADS not in self._wants:  # they only look on, and must not teach the encoders
            features = {name: tensor.detach() for name, tensor in features.items()}
        return self.run.heads(features)

    def _listen(self, optimizer: Optimizer) -> None:
        if self._listened is optimizer:
            return
        if self._listened is not None:
            raise SettingError("The recipes watch another optimizer already. Use one for all.")
        check_joined(optimizer, self.parameter_groups, self.parameters())
        self._listened = self.run.optimizer = optimizer
        self._attached.callback(after_step(optimizer, self._stepped).remove)

    def _stepped(self, skipped: Tensor | None) -> None:
        self.run.skipped = skipped
        for recipe in reversed(list(self._acting("on_step_end"))):
            recipe.on_step_end(self.run)
        self.run.step = self._begun
