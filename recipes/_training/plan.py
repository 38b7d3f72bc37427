"""The settings of a training, checked before its first step."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from imbalance_lens import checks
from imbalance_lens.errors import SettingError

from .._groups import Groups, held, join_

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], Any]

_OVERFLOWS = 20
"""Bad losses in a row that a GradScaler may need to find its scale: it halves from 65536."""


@dataclass(frozen=True)
class Plan:
    """How a training goes.

    Attributes:
        epochs: passes over the data.
        device: where it runs.
        dtype: of autocast; None for none.
        optimizer: over the parameters of the model and of the heads.
        scheduler: None for none.
        per_step: whether the scheduler steps with the optimizer, not per epoch.
        scaler: of the loss; does nothing unless the precision is fp16.
        parameters: all that the optimizer has.
        accumulate: micro-batches per optimizer step.
        clip_norm: largest norm of all gradients together; None for no clipping.
        channels_last: whether images are laid out with the channels last.
    """

    epochs: int
    device: torch.device
    dtype: torch.dtype | None
    optimizer: Optimizer
    scheduler: Any
    per_step: bool
    scaler: GradScaler
    parameters: list[nn.Parameter]
    accumulate: int
    clip_norm: float | None
    channels_last: bool

    @property
    def tolerated_overflows(self) -> int:
        """How many losses in a row may be no numbers."""
        return _OVERFLOWS if self.scaler.is_enabled() else 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the precision that forward and loss run under."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def device_for(wanted: str | torch.device) -> torch.device:
    """Return the device: "auto" is the accelerator of this rank where there is one.

    Raises:
        SettingError: there is no such device here.
    """
    if str(wanted) == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None:
            return torch.device("cpu")
        return torch.device(found.type, int(os.environ.get("LOCAL_RANK", "0")))
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(f"The device {str(wanted)!r} cannot be used: {reason}") from error
    return device


def dtype_for(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype of autocast, None for full precision.

    "auto" is bf16 on a CUDA device that has it, and full precision elsewhere.

    Raises:
        SettingError: an unknown precision, or fp16 without CUDA.
    """
    checks.one_of("precision", precision, PRECISIONS)
    if precision == "auto":
        has_it = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_it else None
    if precision == "fp16" and device.type != "cuda":
        raise SettingError(
            f"precision='fp16' needs a CUDA device, and the training runs on {device}. Use 'bf16' "
            "or 'fp32'."
        )
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def optimizer_for(
    wanted: Optimizer | MakeOptimizer | None,
    model: nn.Module,
    beside: Iterable[nn.Parameter],
    groups: Groups = (),
) -> Optimizer:
    """Return an optimizer over the trainable parameters of the model and those beside it.

    Args:
        wanted: one over the model's parameters, to which those beside it are added as a group;
            a function that makes one of parameters; None: SGD with learning rate 0.001, momentum
            0.9 and weight decay 0.0001, the setting of Wei et al. (TPAMI 2024).
        model: in training.
        beside: parameters of unimodal heads.
        groups: what recipes want treated apart; added as groups of their own.

    Raises:
        SettingError: neither of these, or nothing to train.
    """
    apart = held(groups)
    own = [p for p in model.parameters() if p.requires_grad and p not in apart]
    others = list(beside)
    if not own and not others:
        raise SettingError(
            "No parameter of the model is trainable. Set requires_grad on some of them."
        )
    if isinstance(wanted, Optimizer):
        if own and held(wanted.param_groups).isdisjoint(own):
            raise SettingError(
                "The optimizer has no trainable parameter of this model. Make it of "
                "model.parameters(), or pass a function that makes one, such as "
                "functools.partial(torch.optim.SGD, lr=0.01)."
            )
        _refuse_closures(wanted)
        join_(wanted, [{"params": others}, *groups])
        return wanted
    if wanted is None:
        made = torch.optim.SGD([*own, *others], lr=1e-3, momentum=0.9, weight_decay=1e-4)
    else:
        made = wanted([*own, *others]) if callable(wanted) else wanted
    if not isinstance(made, Optimizer):
        raise SettingError(
            f"optimizer gave a {type(made).__name__}. Pass an Optimizer, or a function that makes "
            "one, such as functools.partial(torch.optim.SGD, lr=0.01)."
        )
    _refuse_closures(made)
    join_(made, groups)
    return made


def _refuse_closures(optimizer: Optimizer) -> None:
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise SettingError(
            f"{type(optimizer).__name__} needs a function for the loss, which it may call several "
            "times per step; this loop computes the loss once. Take another optimizer, such as "
            "torch.optim.SGD."
        )


def scheduler_for(
    wanted: MakeScheduler | None, optimizer: Optimizer, *, by: str, validated: bool
) -> Any:
    """Return the scheduler that a function makes for the optimizer; None for none.

    Args:
        wanted: the function.
        optimizer: of the training.
        by: "epoch" or "step": after what it is to step.
        validated: whether there is a validation loss.

    Raises:
        SettingError: what was made is no scheduler, is one of another optimizer, or needs a
            validation loss where there is none.
    """
    if wanted is None:
        return None
    rates = [_copied(group.get("lr")) for group in optimizer.param_groups]
    # Classes are functions that make one, and have a method step all the same.
    makes = callable(wanted) and (isinstance(wanted, type) or not hasattr(wanted, "step"))
    made = wanted(optimizer) if makes else wanted
    if not callable(getattr(made, "step", None)) or not hasattr(made, "state_dict"):
        raise SettingError(
            f"scheduler gave a {type(made).__name__}. Pass a scheduler, or a function that makes "
            "one for an optimizer, such as functools.partial(StepLR, step_size=70)."
        )
    if getattr(made, "optimizer", optimizer) is not optimizer:
        raise SettingError(
            "The scheduler is of another optimizer than the one that trains. Pass a function of "
            "the optimizer, such as functools.partial(StepLR, step_size=70)."
        )
    if isinstance(made, ReduceLROnPlateau) and not (validated and by == "epoch"):
        raise SettingError(
            "ReduceLROnPlateau follows the validation loss. Pass val_loader= and "
            "schedule_by='epoch'."
        )
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group.setdefault("initial_lr", rate)  # as most do: what a resumed training has to begin at
    return made


def _copied(rate: Any) -> Any:
    return rate.clone() if isinstance(rate, Tensor) else rate
