"""Training a model with recipes in the bundled loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from imbalance_lens import checks
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.outputs import LogitsOf
from imbalance_lens.batches import Split
from imbalance_lens.errors import NoEffectWarning, SettingError
from imbalance_lens.hooks.clock import Schedule
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.observer import ProbeChoice

from .._base import Want
from .._compose import RecipeChoice, chosen_recipes
from .._data.batches import TrainingLoader
from .._distributed import shared_seed, started
from .._treatment import Loss, Treatment
from .assembly import (
    answer,
    checkpoints_of,
    closed_on_error,
    first_inputs,
    validation_of,
    watch_of,
    wrapped,
)
from .bookkeeping import Books
from .fit import Fit
from .logs import Log
from .loop import fit
from .plan import (
    MakeOptimizer,
    MakeScheduler,
    Plan,
    device_for,
    dtype_for,
    optimizer_for,
    scheduler_for,
)
from .seeds import seeded


def apply(
    recipe: RecipeChoice | Iterable[RecipeChoice],
    model: nn.Module,
    loader: Iterable[Any],
    *,
    epochs: int,
    val_loader: Iterable[Any] | None = None,
    anatomy: Anatomy | Mapping[str, str] | None = None,
    optimizer: Optimizer | MakeOptimizer | None = None,
    scheduler: MakeScheduler | None = None,
    schedule_by: str = "epoch",
    loss: Loss | None = None,
    heads: Mapping[str, nn.Module] | None = None,
    readout: str = "auto",
    split: Split | None = None,
    logits: LogitsOf | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    accumulate: int = 1,
    clip_norm: float | None = None,
    channels_last: bool = False,
    compile: bool = False,
    patience: int | None = None,
    keep: str | None = None,
    probes: Iterable[ProbeChoice] = (),
    look: Schedule | None = None,
    log: Log | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool | str = True,
    seed: int | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Fit:
    """Train a multimodal model with a remedy for imbalance; the model is trained in place.

    Started by torchrun, it trains on all ranks: the model is wrapped in
    `DistributedDataParallel`, a DataLoader is divided among the ranks (its batch size is that of
    one rank), and scores and history are those of all ranks together.

    Args:
        recipe: a name, a recipe made with settings of its own, or several: `["opm", "ogm_ge"]`.
        model: any PyTorch model, not compiled.
        loader: an iterable of batches, as `imbalance_lens.diagnose` takes it; gone through once
            per epoch.
        epochs: passes over the data.
        val_loader: held-out examples, measured after every epoch. Never test data: the best
            epoch is chosen by them.
        anatomy: who is who, or just {modality: path of its encoder}. Default: found from the
            first batch.
        optimizer: one over the model's parameters, or a function of parameters that makes one.
            Default: SGD, learning rate 0.001, momentum 0.9, weight decay 0.0001 (Wei et al.,
            TPAMI 2024).
        scheduler: a function of the optimizer that makes a scheduler.
        schedule_by: "epoch" or "step": after what the scheduler steps.
        loss: gets logits and labels and gives the mean loss. Default: cross-entropy.
        heads: unimodal heads, modality -> module on the encoder's output, for recipes and
            readouts that use some. Default: linear ones on pooled features.
        readout: how the modalities' scores are read: "linear_split", "heads", "zero_out", or
            "auto", the first of these that is exact for the model's head.
        split: gets (inputs, labels) out of batches of other kinds; or (inputs, labels, numbers of
            the examples), for recipes that treat each example in its own way.
        logits: gets the logits (batch, classes) out of the model's output.
        device: "auto" is the accelerator where there is one.
        precision: "fp32", "bf16", "fp16" (with a GradScaler), or "auto": bf16 on CUDA devices
            that have it, fp32 elsewhere.
        accumulate: micro-batches per optimizer step; weighted by their examples.
        clip_norm: largest norm of all gradients together, after the recipe has changed them.
        channels_last: lay images out with the channels last.
        compile: compile the encoders with `torch.compile`.
        patience: stop after so many epochs without a better validation.
        keep: "best" or "last": which weights the model ends with. Default: "best" with a
            `val_loader`.
        probes: probes of `imbalance_lens` that watch the training, by name.
        look: at which steps they look. Default: at all.
        log: gets numbers by name and the step, after each epoch; see `recipes.to_csv`.
        checkpoint: folder in which the state is kept after every epoch.
        checkpoint_every: also after so many steps within an epoch.
        resume: go on from the checkpoint where there is one; "previous": from the one before
            the newest; False: begin anew.
        seed: of everything random in the training; the random state of the process is as before
            afterwards. Default: the process's own.
        progress: show a bar. Default: in a terminal or a notebook.
        settings: of the recipes.

    Returns:
        The model, the heads, the history and the best epoch.

    Raises:
        UnknownNameError: no recipe of a name, or no such setting.
        SettingError: a value that is not allowed.
        AnatomyError: the model's parts could not be found, or the given ones do not fit.
        BatchError: batches or labels that cannot be used.
        CheckpointError: the checkpoint is damaged, or of another training.
        TrainingError: the loss is no longer a number.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> fitted = apply("ogm_ge", model, loader, epochs=2, alpha=0.5, seed=0)
        >>> fitted.history["step_coefficient"].dims
        ('step', 'modality')
    """
    recipes = chosen_recipes(recipe, settings)
    checks.whole("epochs", epochs)
    checks.whole("accumulate", accumulate)
    checks.one_of("schedule_by", schedule_by, ("epoch", "step"))
    checks.one_of("keep", keep, (None, "best", "last"))
    checks.one_of("resume", resume, (True, False, "previous"))
    for name, value in (("patience", patience), ("checkpoint_every", checkpoint_every)):
        if value is not None:
            checks.whole(name, value)
    for name, value in (("loss", loss), ("split", split), ("logits", logits), ("log", log)):
        if value is not None:
            checks.function(name, value)
    if seed is not None:
        checks.whole("seed", seed, 0)
    if clip_norm is not None:
        checks.positive("clip_norm", clip_norm)
    if val_loader is None and (patience is not None or keep == "best"):
        raise SettingError(
            "patience= and keep='best' need validation data. Pass val_loader=, made of examples "
            "that are neither trained on nor tested on."
        )
    for made in recipes:
        if made.start_epoch >= epochs:
            warnings.warn(
                f"{made.name!r} begins in epoch {made.start_epoch}, counted from 0, and the "
                f"training has {epochs}, so it does nothing.",
                NoEffectWarning,
                stacklevel=2,
            )
    with ExitStack() as stack:
        stack.enter_context(started())
        if seed is not None:
            stack.enter_context(seeded(seed))
        where = device_for(device)
        dtype = dtype_for(precision, where)
        inner = unwrap(model)
        inner.to(where)
        if channels_last:
            inner.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        training = TrainingLoader(
            loader,
            split=split,
            seed=shared_seed(seed),
            numbers=any(Want.NUMBERS in recipe.wants() for recipe in recipes),
        )
        treatment = Treatment(
            recipes,
            model,
            first_inputs(training),
            anatomy=anatomy,
            heads=heads,
            readout=readout,
            logits=logits,
            loss=loss,
            seed=seed,
            compiled=torch.compile if compile else None,
            data=training,
        )
        with closed_on_error(treatment):
            made = optimizer_for(
                optimizer, inner, treatment.parameters(), treatment.parameter_groups
            )
            plan = Plan(
                epochs=epochs,
                device=where,
                dtype=dtype,
                optimizer=made,
                scheduler=scheduler_for(
                    scheduler, made, by=schedule_by, validated=val_loader is not None
                ),
                per_step=schedule_by == "step" and scheduler is not None,
                scaler=GradScaler(where.type, enabled=dtype is torch.float16),
                parameters=[p for group in made.param_groups for p in group["params"]],
                accumulate=accumulate,
                clip_norm=clip_norm,
                channels_last=channels_last,
            )
            treatment.run.plan = plan
            books = Books(
                treatment,
                training,
                plan,
                validation=validation_of(val_loader, split, treatment, plan),
                watch=watch_of(treatment, probes, look, logits),
                log=log,
                checkpoints=checkpoints_of(checkpoint, treatment, plan, training, seed),
                checkpoint_every=checkpoint_every,
                resume_from=resume,
                patience=patience,
                keep_best=keep == "best" or (keep is None and val_loader is not None),
                show_progress=progress,
            )
            fit(wrapped(model, where), treatment, plan, books)
        return answer(treatment, books, plan, seed)
