"""What has to be the same when a training goes on."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .._base import Run
from .._data.batches import TrainingLoader
from .._distributed import world_size
from .._treatment import Treatment
from .._values import described
from .plan import Plan


def settings_of(treatment: Treatment, plan: Plan, seed: int | None) -> dict[str, Any]:
    """Return what a training is told of in its history."""
    return {
        "recipes": {recipe.name: recipe.settings() for recipe in treatment.recipes},
        "readout": treatment.readout,
        "optimizer": type(plan.optimizer).__name__,
        "precision": str(plan.dtype or torch.float32).removeprefix("torch."),
        "accumulate": plan.accumulate,
        "clip_norm": plan.clip_norm,
        "world_size": world_size(),
        "seed": seed,
    }


def fingerprint(
    treatment: Treatment, plan: Plan, training: TrainingLoader, seed: int | None
) -> dict[str, Any]:
    """Return everything that a resumed training takes for granted; taken before its first step.

    The number of epochs is none of it, nor is what only decides when to stop and what to keep; and
    examples may be taken out that turned out to be bad.
    """
    run = treatment.run
    weights = [run.model, *([] if run.heads is None else [run.heads])]
    found = {
        **settings_of(treatment, plan, seed),
        "order": [recipe.name for recipe in treatment.recipes],
        "encoders": run.anatomy.encoders,
        "loss": _of_loss(run),
        "batch size": getattr(training.loader, "batch_size", None),
        "scheduler": None if plan.scheduler is None else type(plan.scheduler).__name__,
        "schedule_by": "step" if plan.per_step else "epoch",
        "parameters": {
            name: list(parameter.shape)
            for module in weights
            for name, parameter in module.named_parameters()
        },
        "parameters per group": [len(group["params"]) for group in plan.optimizer.param_groups],
    }
    found |= {f"{name} of the optimizer": v for name, v in _of_optimizer(plan.optimizer).items()}
    found |= {f"{name} of the scheduler": v for name, v in _of_scheduler(plan.scheduler).items()}
    return described(found)


_IMPLEMENTATION = {"params", "foreach", "fused", "capturable", "differentiable"}
"""What of a parameter group decides how a step is computed, and not what it comes to."""


def _of_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """Return the settings at the start, one value each where all groups have the same."""
    groups = [
        {name: _number(value) for name, value in group.items() if name not in _IMPLEMENTATION}
        for group in optimizer.param_groups
    ]
    for group in groups:  # a scheduler may have changed it by now
        group["lr"] = group.pop("initial_lr", group.get("lr"))
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for group in groups for name in group):
        values = [group.get(name) for group in groups]
        found[name] = values[0] if all(value == values[0] for value in values) else values
    return found


def _of_loss(run: Run) -> Any:
    """Return the loss; only its class where it knows the model, which trains meanwhile."""
    loss = run.loss
    if isinstance(loss, nn.Module) and not set(loss.modules()).isdisjoint(run.model.modules()):
        return type(loss)
    return loss


def _of_scheduler(scheduler: Any) -> dict[str, Any]:
    """Return the settings that a scheduler was made with and keeps, by name."""
    if scheduler is None:
        return {}
    state = scheduler.state_dict()
    names = inspect.signature(type(scheduler)).parameters.keys() - {"last_epoch", "schedulers"}
    found = {
        name: state[own]
        for name in sorted(names)
        for own in (name, f"{name}s", f"_{name}")  # one per group, and private ones
        if own in state
    }
    parts = getattr(scheduler, "_schedulers", ())  # of one that is made of several
    return found | ({"parts": list(map(_of_scheduler, parts))} if parts else {})


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
