"""Weights of Gradient-Blending, estimated for a model and its data."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from imbalance_lens import checks
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.outputs import LogitsOf
from imbalance_lens.batches import Split
from imbalance_lens.errors import SettingError
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.loaders import loader_kept
from imbalance_lens.passes import who_is_who

from .._base import Run, Want
from .._data.batches import TrainingLoader
from .._first_look import first_look
from .._tasks import default_loss
from .._training.plan import (
    MakeOptimizer,
    MakeScheduler,
    Plan,
    device_for,
    dtype_for,
    optimizer_for,
    scheduler_for,
)
from .._training.seeds import seeded
from .._treatment import Loss
from .blending import Blending, Estimate
from .estimate_files import EstimateFile
from .estimation import Estimation, Examples, rebound
from .parts import held_out as parted
from .parts import is_numbered, share_of, some_in_order


def estimate_weights(
    model: nn.Module,
    train: Iterable[Any],
    val: Iterable[Any] | None = None,
    *,
    epochs: int,
    anatomy: Anatomy | Mapping[str, str] | None = None,
    heads: Mapping[str, nn.Module] | None = None,
    fraction: float = 1.0,
    held_out: float = 0.1,
    measure: str = "loss",
    solution: str = "uncorrelated",
    floor: float = 0.1,
    raw: bool = False,
    optimizer: Optimizer | MakeOptimizer | None = None,
    scheduler: MakeScheduler | None = None,
    schedule_by: str = "epoch",
    loss: Loss | None = None,
    split: Split | None = None,
    logits: LogitsOf | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    accumulate: int = 1,
    clip_norm: float | None = None,
    folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Estimate:
    """Estimate by what weights the losses of a model's heads are best blended.

    Each head is trained alone on a copy, one after another from the model's state of now: a
    unimodal head with its encoder, the joint one with the whole model (Wang et al., CVPR 2020,
    Alg. 1). Model, heads, optimizer and all random states are as before.

    Cost: for each head a training of its own; together about two joint trainings of `epochs`
    epochs, times `fraction`, where fusion and heads are small.

    Args:
        model: any PyTorch model, not compiled.
        train: batches of training examples.
        val: held-out batches of training examples, never test data. Default: `held_out` of
            `train`, which has to be a DataLoader over numbered examples then.
        epochs: that each head is trained: as long as the weights are to be used.
        anatomy: as `recipes.apply` takes it.
        heads: unimodal heads. Default: linear ones on pooled features.
        fraction: of the training examples that the heads are trained on.
        held_out: fraction of `train` that is held out.
        measure: "loss", or "accuracy".
        solution: "uncorrelated"; "correlated" also reckons with heads that overfit together, and
            measures after every epoch.
        floor: see `blend_weights`; for the correlated solution, its square, in parts of the
            squared largest gain, is added to the variances.
        raw: no floors, so that weights may be negative or infinite.
        optimizer: over the model's parameters, or a function that makes one, as `recipes.apply`
            takes it.
        scheduler: likewise; one that waits for a validation does nothing.
        schedule_by: "epoch" or "step".
        loss: what trains the heads; they are measured by the cross-entropy.
        split: gets (inputs, labels) out of batches of other kinds.
        logits: gets the logits out of the model's output.
        device: as `recipes.apply` takes it.
        precision: likewise.
        accumulate: likewise.
        clip_norm: likewise.
        folder: where finished heads are kept; an estimate that is begun anew from the same state
            goes on with the first unfinished one.
        seed: of everything random in it.
        progress: show a bar. Default: in a terminal or a notebook.

    Returns:
        The weights, and the losses, accuracies, G, O and OGR of each head.

    Raises:
        SettingError: a value that is not allowed, labels that are no class indices, or a model
            that cannot be copied.
        AnatomyError: the model's parts could not be found, or the given ones do not fit.
        BatchError: batches that cannot be used, or examples without numbers where some are to be
            held out or chosen.
        TrainingError: the loss of a head is no longer a number.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> found = estimate_weights(model, loader, epochs=2)
        >>> list(found.weights), round(sum(found.weights.values()), 6)
        (['audio', 'visual', 'joint'], 1.0)
    """
    how = Blending(measure, solution, floor, raw)
    checks.whole("epochs", epochs)
    checks.whole("accumulate", accumulate)
    checks.one_of("schedule_by", schedule_by, ("epoch", "step"))
    if clip_norm is not None:
        checks.positive("clip_norm", clip_norm)
    where = device_for(device)
    original = unwrap(model)
    own = copied(original).to(where)
    data = TrainingLoader(train, split=split, seed=seed)
    examples = examples_of(data, val, fraction=fraction, held_out=held_out, seed=seed)
    with seeded(seed), loader_kept(examples.training.loader):
        inputs, _ = next(examples.training.epoch(0))
        who = who_is_who(own, anatomy, inputs)
        run = Run(own, who, torch.Generator(where), loss=loss or default_loss)
        theirs = None if heads is None else {name: copied(head) for name, head in heads.items()}
        looked = first_look(run, {Want.HEADS}, inputs, heads=theirs, readout="auto", logits=logits)
        run.logits_of = looked.logits_of
    if isinstance(optimizer, Optimizer):
        optimizer, _ = rebound(optimizer, None, (original, own))
    made = optimizer_for(optimizer, own, [] if run.heads is None else run.heads.parameters())
    dtype = dtype_for(precision, where)
    run.plan = Plan(
        epochs=epochs,
        device=where,
        dtype=dtype,
        optimizer=made,
        scheduler=scheduler_for(scheduler, made, by=schedule_by, validated=True),
        per_step=schedule_by == "step" and scheduler is not None,
        scaler=GradScaler(where.type, enabled=dtype is torch.float16),
        parameters=[p for group in made.param_groups for p in group["params"]],
        accumulate=accumulate,
        clip_norm=clip_norm,
        channels_last=False,
    )
    estimation = Estimation(
        run,
        copied(own),
        examples,
        epochs=epochs,
        seed=seed,
        each_epoch=how.each_epoch,
        file=None if folder is None else EstimateFile(folder, 0),
        progress=progress,
    )
    settings = {"epochs": epochs, "fraction": fraction, "seed": seed, "measure": measure}
    return how.estimate(
        estimation.by_head(), {**settings, "solution": solution, "floor": floor, "raw": raw}
    )


def examples_of(
    data: TrainingLoader, val: Iterable[Any] | None, *, fraction: float, held_out: float, seed: int
) -> Examples:
    """Return what heads are trained on and measured by.

    Args:
        data: training examples; those held out are taken from it, for good.
        val: held-out examples. None: some of the training examples.
        fraction: of the training examples that heads are trained on.
        held_out: of the training examples that are held out where `val` is None.
        seed: of the choice.

    Raises:
        BatchError: examples without numbers, of which some are to be chosen.
    """
    checks.fraction("held_out", held_out)
    if fraction != 1:
        checks.fraction("fraction", fraction)
    if val is None:
        data.loader, val = parted(data.loader, held_out, seed)
    chosen = data.loader
    if fraction != 1 or is_numbered(chosen):
        chosen = share_of(chosen, fraction, seed)
    training = TrainingLoader(chosen, split=data.split, seed=seed)
    if not is_numbered(val):
        return Examples(training, chosen, val, data.split)
    count = len(val.dataset)  # pyright: ignore[reportArgumentType]
    return Examples(training, some_in_order(chosen, count, seed), val, data.split)


def copied(module: nn.Module) -> Any:
    """Return a copy of a module.

    Raises:
        SettingError: it cannot be copied.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:  # what a user's module may hold has no bounds
        raise SettingError(
            f"{type(module).__name__} cannot be copied ({error}), and heads are trained on copies. "
            "Remove what it holds besides modules and parameters, or pass weights=."
        ) from error
