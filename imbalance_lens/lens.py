"""Probes on a running training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from .anatomy import Anatomy
from .anatomy.outputs import LogitsOf, checked_logits
from .anatomy.readout import Heads
from .anatomy.replayer import Replayer
from .anatomy.self_check import self_check
from .anatomy.sites import Recording
from .batches import Call, Split, class_indices
from .errors import NotApplicableError, NotAttachedError, SettingError, SignalBypassWarning
from .hooks.clock import Schedule, every
from .hooks.taps import around_call
from .hooks.wrappers import is_compiled, unwrap
from .loaders import loader_kept, pairs
from .observer import Observer, ProbeChoice, chosen_probes
from .passes import show
from .registry import unknown
from .rolls import Roll

if TYPE_CHECKING:
    import xarray as xr


class Lens:
    """Watches a training loop without changing it; training is bitwise the same with and without.

    At scheduled steps the encoders' outputs of the training pass are kept, and fusion and head
    run again on them, in eval mode, without gradients. Passes in eval mode (validation) are not
    looked at.

    Cost: nothing but two Python calls at steps that are not scheduled; at the others a copy of
    the encoders' outputs and one pass of fusion and head per set of modalities.

    Args:
        model: the model in training, also wrapped in DDP or DataParallel on one device. Compiled
            ones have to be attached before `torch.compile`.
        anatomy: who is who, or just {modality: path of its encoder}.
        probes: names, or probes with settings of their own.
        schedule: at which steps to look, `every(50)` or `log_spaced()`. Default: all.
        heads: unimodal heads, modality -> head on the encoder's output.
        logits: gets the logits (batch, classes) out of the model's output.

    Raises:
        NotAttachedError: the model is compiled already.
        AnatomyError: a path of the anatomy leads nowhere.
        SettingError: `anatomy` or `schedule` is none.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        >>> who = {"audio": "audio", "visual": "visual"}
        >>> with Lens(model, who, probes=["logit_norm"]) as session:
        ...     for inputs, labels in loader:
        ...         loss = nn.functional.cross_entropy(model(**inputs), labels)
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         session.step(labels)
        ...         _ = optimizer.step()
        >>> session.dataset().mean_norm.dims
        ('epoch', 'head')
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy | Mapping[str, str],
        probes: Iterable[ProbeChoice],
        *,
        schedule: Schedule | None = None,
        heads: Heads | None = None,
        logits: LogitsOf | None = None,
    ) -> None:
        if not isinstance(anatomy, Anatomy | Mapping):
            raise SettingError(
                f"anatomy is a {type(anatomy).__name__}. Give find_anatomy(model, inputs), or a "
                "mapping such as {'audio': 'path.to.module', ...}."
            )
        if not (schedule is None or callable(schedule)):
            raise SettingError(f"schedule={schedule!r} is no schedule. Give every(50), say.")
        who = anatomy if isinstance(anatomy, Anatomy) else Anatomy(encoders=anatomy)
        if is_compiled(model):
            raise NotAttachedError(
                "The model is compiled, and what is attached now would never be called. Make the "
                "Lens with the model from before torch.compile, and enter it before training."
            )
        logits_of = None if logits is None else checked_logits(logits)
        self._model = unwrap(model)
        self._replayer = Replayer(self._model, who, logits_of=logits_of)
        self._observer = Observer(self._model, who, chosen_probes(probes), heads)
        self._looks = schedule or every(1)
        self._roll = Roll()
        self._attached = ExitStack()
        self._recording = ExitStack()
        self._recorded: Recording | None = None
        self._pending: tuple[Call, Recording, int] | None = None
        self._passes = 0
        self._checked = False
        self.steps = 0
        self.epochs = 0

    def __enter__(self) -> Self:
        self._attached.enter_context(around_call(self._model, self._before, self._after))
        return self

    def __exit__(self, *error: object) -> None:
        self._recording.close()
        self._attached.close()

    def see(self, labels: Tensor) -> None:
        """Take the labels of the last training pass; call it before the optimizer's step.

        With gradient accumulation, call it after every micro-batch and `step()` once.

        Args:
            labels: (batch,) class indices.

        Raises:
            NotAttachedError: no training pass since the last call, or the parameters have
                changed since.
            BatchError: labels that do not fit.
        """
        if not self._passes:
            raise NotAttachedError(
                "No training pass of the model was seen since the last step. Call the model in "
                "train mode inside `with Lens(...)`, then session.step(labels)."
            )
        pending, self._pending, self._passes = self._pending, None, 0
        if pending is None:
            return
        call, recorded, version = pending
        if self._version() != version:
            raise NotAttachedError(
                "The parameters have changed since the pass that is to be looked at. Call "
                "session.step(labels) before optimizer.step()."
            )
        with self._replayer:
            replay = self._replayer.replay(call, recorded)
            if not self._checked:
                self._checked = True
                for sentence, left_in in self_check(replay.again(call)):
                    if left_in:
                        warnings.warn(sentence, SignalBypassWarning, stacklevel=3)
            given = class_indices(labels)
            self._observer.see(replay, given, step=self.steps, epoch=self.epochs, live=True)

    def step(self, labels: Tensor | None = None) -> None:
        """Count one optimizer step; with labels, take those of the last training pass first."""
        if labels is not None:
            self.see(labels)
        self.steps += 1

    def look(
        self, loader: Iterable[Any], *, training: bool = False, split: Split | None = None
    ) -> None:
        """Show a fixed set of examples to the probes that compare training with held-out ones.

        Call it once per epoch for each of the two. The model is frozen meanwhile.

        Args:
            loader: as `diagnose` takes it; the same examples each time.
            training: whether the model is trained on them.
            split: gets (inputs, labels) out of batches of other kinds.
        """
        with loader_kept(loader), self._replayer:
            show(
                pairs(loader, split),
                self._replayer,
                self._observer,
                epoch=self.epochs,
                training=training,
                comparing=True,
            )

    def epoch(self) -> None:
        """Close an epoch; what is seen from now on belongs to the next.

        In a distributed training every rank has to call this.
        """
        self._roll.close(self._observer.probes, self.epochs)
        self.epochs += 1

    def dataset(self, probe: str | None = None) -> xr.Dataset:
        """Return what a probe has seen so far; the name may be left out if there is one probe.

        A probe that knows no epochs gets the dimension `epoch` once an epoch was closed. In a
        distributed training every rank has to call this, and gets what all ranks have seen.

        Raises:
            NotAttachedError: the probe could not answer, or has seen no step.
            UnknownNameError: the session has no such probe.
        """
        known = [*self._observer.probes, *self._observer.skipped]
        name = known[0] if probe is None and len(known) == 1 else probe
        if name not in known:
            raise unknown("probe", name, known)
        if name in self._observer.skipped:
            raise NotAttachedError(f"{name!r} has no answer: {self._observer.skipped[name]}.")
        return self._roll.answer(name, self._observer.probes[name], self.epochs)

    def datasets(self) -> dict[str, xr.Dataset]:
        """Return what every probe that can answer has seen so far; see `dataset`.

        Raises:
            NotAttachedError: no probe has seen anything.
        """
        answers, nothing = {}, None
        for name in self._observer.probes:
            try:
                answers[name] = self.dataset(name)
            except (NotApplicableError, NotAttachedError) as error:
                nothing = error
        if nothing and not answers:
            raise nothing
        return answers

    def _before(self) -> None:
        self._recording.close()  # left open by a pass that raised
        if self._model.training and torch.is_grad_enabled() and self._looks(self.steps):
            self._recorded = self._recording.enter_context(self._replayer.wiring.recording())

    def _after(self, args: tuple, kwargs: Mapping[str, Any]) -> None:
        if not (self._model.training and torch.is_grad_enabled()):
            return
        self._passes += 1
        recorded, self._recorded = self._recorded, None
        self._recording.close()
        if recorded is not None:
            self._pending = Call.of(self._model, args, kwargs), recorded, self._version()

    def _version(self) -> int:
        return sum(parameter._version for parameter in self._model.parameters())
