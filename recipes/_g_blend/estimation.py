"""What each head gains and overfits when it is trained alone, from one and the same state."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from imbalance_lens.batches import Split, check_labels
from imbalance_lens.errors import SettingError, TrainingError
from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.loaders import generators, loader_kept, pairs
from imbalance_lens.observation import Observation
from imbalance_lens.probes.ogr import Ogr
from imbalance_lens.progress import bar
from imbalance_lens.schema import JOINT
from imbalance_lens.trees import map_tensors

from .._base import Run
from .._data.batches import TrainingLoader
from .._heads import UnimodalHeads
from .._tasks import classifies
from .._training.seeds import seeded
from .._training.storable import serialized
from .estimate_files import EstimateFile
from .solo import JointHead, ModalityHead

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Examples:
    """What heads are trained on, and what they are judged by.

    Attributes:
        training: gives the batches of an epoch.
        measured: a fixed part of the training examples.
        held_out: fixed examples that no head is trained on.
        split: gets (inputs, labels) out of batches of other kinds.
    """

    training: TrainingLoader
    measured: Iterable[Any]
    held_out: Iterable[Any]
    split: Split | None


class Estimation:
    """Trains a copy of each head alone and measures it; the run is as before afterwards.

    A unimodal head is trained with its encoder, the joint one with the whole model. Each starts
    from the run's state of now, with an optimizer like the run's that has taken no step yet and
    with the same random state, so that all see the examples in the same order.

    Args:
        run: its model, heads and plan are copied.
        blank: a copy of the model that nothing is attached to.
        examples: to train on and to measure.
        epochs: that each head is trained.
        seed: of the random state.
        each_epoch: measure after every epoch, not only after the last.
        file: where finished heads are kept, if anywhere.
        progress: show a bar. None: in a terminal or a notebook.
    """

    def __init__(
        self,
        run: Run,
        blank: nn.Module,
        examples: Examples,
        *,
        epochs: int,
        seed: int,
        each_epoch: bool = False,
        file: EstimateFile | None = None,
        progress: bool | None = None,
    ) -> None:
        if run.plan is None or run.heads is None:
            raise RuntimeError("there is no plan, or no unimodal head")
        self._run, self._plan, self._heads = run, run.plan, run.heads
        self._blank = blank
        self._examples = examples
        self._epochs = epochs
        self._seed = seed
        self._each_epoch = each_epoch
        self._file = file
        self._progress = progress

    def by_head(self) -> dict[str, xr.Dataset]:
        """Return the `ogr` probe's answer about each head, over its epochs.

        Raises:
            TrainingError: the loss of a head is no longer a number.
            BatchError: labels that are no class indices.
        """
        found = {} if self._file is None else self._file.finished(self._fingerprint())
        for name in (*self._run.modalities, JOINT):
            if name not in found:
                found[name] = self._measured(name)
                if self._file is not None:
                    self._file.add(name, found[name])
        return {name: found[name] for name in (*self._run.modalities, JOINT)}

    def _measured(self, name: str) -> xr.Dataset:
        training, states = self._examples.training, self._epochs + 1
        probe = Ogr()
        with ExitStack() as stack:
            for loader in (training.loader, self._examples.measured, self._examples.held_out):
                stack.enter_context(loader_kept(loader))
            with seeded(self._seed):
                alone, optimizer, scheduler = self._copies(name)
            stack.enter_context(seeded(self._seed))  # anew: making a copy draws more or less
            for own in generators(training.loader):
                own.manual_seed(self._seed)
            scaler = GradScaler(self._plan.device.type, enabled=self._plan.scaler.is_enabled())
            for state in range(states):
                if state:
                    batches = self._shown(training.epoch(state - 1), f"{name} alone", state)
                    alone.train()
                    self._train(alone, batches, optimizer, scheduler, scaler)
                if self._each_epoch or state in (0, self._epochs):
                    self._look(alone, probe, state)
        found = probe.result().assign_coords(head=[name])
        if not np.isfinite(found["loss"]).all():
            raise TrainingError(
                f"{name!r} trained alone for {self._epochs} epoch(s) has a loss that is no number. "
                "Lower the learning rate, look for NaN in the data, or pass weights=."
            )
        return found

    def _copies(self, name: str) -> tuple[nn.Module, Optimizer, Any]:
        run = self._run
        model, heads = copy.deepcopy(self._blank), copy.deepcopy(self._heads)
        copy_state_(model, run.model)
        optimizer, scheduler = rebound(
            self._plan.optimizer, self._plan.scheduler, (run.model, model), (self._heads, heads)
        )
        return self._alone(name, model, heads), optimizer, scheduler

    def _alone(self, name: str, model: nn.Module, heads: UnimodalHeads) -> nn.Module:
        if name == JOINT:
            return JointHead(model, self._run.logits_of)
        inputs, _ = next(pairs(self._examples.held_out, self._examples.split))
        return ModalityHead(
            model, heads[name], self._run.anatomy, name, inputs, self._run.logits_of
        )

    def _train(
        self,
        alone: nn.Module,
        batches: Iterator[tuple[Any, Tensor]],
        optimizer: Optimizer,
        scheduler: Any,
        scaler: GradScaler,
    ) -> None:
        plan = self._plan
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        while micro_batches := list(islice(batches, plan.accumulate)):
            optimizer.zero_grad(set_to_none=True)
            examples = sum(len(labels) for _, labels in micro_batches)
            for inputs, labels in micro_batches:
                with plan.autocast():
                    logits = alone(self._moved(inputs))
                    loss = self._run.loss(logits, self._labels(labels, logits))
                scaler.scale(loss * (len(labels) / examples)).backward()
            scaler.unscale_(optimizer)
            if plan.clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, plan.clip_norm)
            scaler.step(optimizer)
            scaler.update()
            if plan.per_step:
                _step(scheduler)
        if not plan.per_step:
            _step(scheduler)

    def _look(self, alone: nn.Module, probe: Ogr, state: int) -> None:
        with frozen(alone), self._plan.autocast():
            for training in (True, False):
                loader = self._examples.measured if training else self._examples.held_out
                for inputs, labels in pairs(loader, self._examples.split):
                    logits = alone(self._moved(inputs))
                    mine = self._labels(labels, logits)
                    probe.observe(Observation(mine, logits, (), epoch=state, training=training))

    def _moved(self, inputs: Any) -> Any:
        device = self._plan.device
        return map_tensors(lambda tensor: tensor.to(device, non_blocking=True), inputs)

    def _labels(self, labels: Tensor, logits: Tensor) -> Tensor:
        if not classifies(labels):
            raise SettingError(
                "The weights of 'g_blend' are estimated from cross-entropies or accuracies of "
                f"class indices (batch,), and the labels are {tuple(labels.shape)} of "
                f"{str(labels.dtype).removeprefix('torch.')}. Pass weights={{head: number}}."
            )
        check_labels(labels, logits.shape[1], len(logits))
        return labels.to(logits.device, non_blocking=True)

    def _shown(self, batches: Iterator[Any], what: str, number: int) -> Iterator[Any]:
        yield from bar(
            batches,
            show=self._progress,
            desc=f"{what}, epoch {number}/{self._epochs}",
            unit="batch",
            total=self._examples.training.batches,
            leave=False,
        )

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for module in (self._run.model, self._heads):
            digest.update(serialized(module.state_dict()))
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self._plan.optimizer.param_groups
        ]
        told = (self._epochs, self._seed, self._each_epoch, self._examples.training.batches, groups)
        digest.update(repr(told).encode())
        return digest.hexdigest()


def copy_state_(to: nn.Module, source: nn.Module) -> None:
    """Give a copy of a module the parameters and the buffers that the original has by now.

    Raises:
        SettingError: the original has others than when it was copied.
    """
    for kind in ("named_parameters", "named_buffers"):
        old, new = dict(getattr(source, kind)()), dict(getattr(to, kind)())
        if old.keys() != new.keys():
            raise SettingError(
                "The model has got other parameters or buffers since the training was prepared. "
                "Name recipes that rebuild it before 'g_blend'."
            )
        for name, tensor in old.items():
            new[name].data.copy_(tensor.detach())


def rebound(
    optimizer: Optimizer, scheduler: Any, *pairs: tuple[nn.Module, nn.Module]
) -> tuple[Optimizer, Any]:
    """Return copies of an optimizer that has taken no step, and of its scheduler.

    Args:
        optimizer: of the originals.
        scheduler: of the optimizer, or None.
        pairs: (original, copy); the copied optimizer gets the parameters of the copies.
    """
    memo: dict[int, Any] = {id(optimizer.state): defaultdict(dict)}
    for original, twin in pairs:
        for old, new in zip(original.parameters(), twin.parameters(), strict=True):
            memo[id(old)] = new
    return copy.deepcopy(optimizer, memo), copy.deepcopy(scheduler, memo)


def _step(scheduler: Any) -> None:
    if scheduler is None or isinstance(scheduler, ReduceLROnPlateau):  # that needs a validation
        return
    with warnings.catch_warnings():  # it looks for a wrapper that optimizers lose when copied
        warnings.filterwarnings("ignore", "Seems like `optimizer.step", UserWarning)
        scheduler.step()
