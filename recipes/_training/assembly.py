"""The parts that the bundled loop works with, made from what the user gives."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from imbalance_lens.anatomy.outputs import LogitsOf
from imbalance_lens.batches import Split
from imbalance_lens.errors import BatchError
from imbalance_lens.hooks.clock import Schedule
from imbalance_lens.hooks.frozen import random_state_kept
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.lens import Lens
from imbalance_lens.loaders import loader_kept
from imbalance_lens.observer import ProbeChoice, chosen_probes

from .._data.batches import TrainingLoader, ValidationLoader
from .._distributed import world_size
from .._treatment import Treatment
from .bookkeeping import Books
from .checkpoint import Checkpoints
from .fingerprint import fingerprint, settings_of
from .fit import Fit
from .plan import Plan
from .validation import Validation


@contextmanager
def closed_on_error(treatment: Treatment) -> Iterator[None]:
    """Give back what the recipes prepared if the loop is not reached."""
    try:
        yield
    except BaseException:
        treatment.__exit__()
        raise


def first_inputs(training: TrainingLoader) -> Any:
    """Return the inputs of a batch, without a trace in any random state."""
    if isinstance(training.loader, Iterator):
        raise BatchError(
            f"The loader is a {type(training.loader).__name__}, which would lose the batch that is "
            "looked at before the training. Give a DataLoader, a list, or an object whose __iter__ "
            "starts anew."
        )
    with random_state_kept(), loader_kept(training.loader):
        return next(training.epoch(0))[0]


def wrapped(model: nn.Module, device: torch.device) -> nn.Module:
    """Return what the loop calls: in DDP where there are several ranks."""
    if world_size() == 1 or isinstance(model, DistributedDataParallel):
        return model
    inner = unwrap(model)
    ids = None if device.type == "cpu" else [device]
    return DistributedDataParallel(inner, device_ids=ids, find_unused_parameters=True)


def validation_of(
    loader: Iterable[Any] | None, split: Split | None, treatment: Treatment, plan: Plan
) -> Validation | None:
    """Return what measures the model on held-out examples, tried out; None without any.

    Raises:
        BatchError: nothing can be measured on them.
    """
    if loader is None:
        return None
    made = Validation(ValidationLoader(loader, split=split))
    logits_of = treatment.logits_of
    made.check(treatment.run, plan.device, logits_of, plan.autocast, epochs=plan.epochs)
    return made


def watch_of(
    treatment: Treatment,
    probes: Iterable[ProbeChoice],
    look: Schedule | None,
    logits: LogitsOf | None,
) -> Lens | None:
    """Return the probes' session, where any were chosen."""
    chosen = list(chosen_probes(probes).values())
    if not chosen:
        return None
    run = treatment.run
    heads = None if run.heads is None else dict(run.heads.items())
    return Lens(run.model, run.anatomy, chosen, schedule=look, heads=heads, logits=logits)


def checkpoints_of(
    folder: str | os.PathLike[str] | None,
    treatment: Treatment,
    plan: Plan,
    training: TrainingLoader,
    seed: int | None,
) -> Checkpoints | None:
    """Return where the state is kept, if anywhere."""
    if folder is None:
        return None
    return Checkpoints(folder, fingerprint(treatment, plan, training, seed))


def answer(treatment: Treatment, books: Books, plan: Plan, seed: int | None) -> Fit:
    """Return what the training has come to; every rank has to call this."""
    run = treatment.run
    watch = books.watch
    return Fit(
        model=run.model,
        heads={} if run.heads is None else dict(run.heads.items()),
        history=treatment.history.dataset(settings_of(treatment, plan, seed)),
        best_epoch=books.best_epoch,
        recipes=tuple(recipe.name for recipe in treatment.recipes),
        readout=treatment.readout,
        probes={} if watch is None else watch.datasets(),
    )
