"""The bundled training loop, with every event where it fires."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from imbalance_lens import checks, formulas
from imbalance_lens.batches import bind, check_labels
from imbalance_lens.errors import SettingError
from imbalance_lens.trees import map_tensors

from .._history import CORRECT, LOSS
from .._tasks import classifies
from .._treatment import Treatment
from .bookkeeping import Books
from .plan import Plan
from .vigil import Vigil


def fit(
    model: nn.Module,
    treatment: Treatment,
    plan: Plan,
    books: Books,
) -> None:
    """Train a model while recipes act.

    Args:
        model: what is called: the user's model, or that in DDP.
        treatment: the recipes at work on it; `on_fit_start` has fired.
        plan: optimizer and settings.
        books: batches, validation, checkpoints, progress.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    run, optimizer, scaler = treatment.run, plan.optimizer, plan.scaler
    vigil = Vigil(patience=plan.tolerated_overflows)
    with ExitStack() as stack:
        stack.enter_context(treatment)  # on_fit_end fires when it closes
        stack.enter_context(books)
        books.resume()
        for epoch in range(run.epoch, plan.epochs):
            if books.out_of_patience:
                break
            model.train()
            if books.start_epoch():
                treatment.start_epoch()  # on_epoch_start
            for micro_batches in _grouped(books.batches(epoch), plan.accumulate):
                optimizer.zero_grad(set_to_none=True)
                examples = sum(len(labels) for _, labels, _ in micro_batches)
                losses, correct = [], []
                for number, (inputs, labels, numbers) in enumerate(micro_batches, 1):
                    inputs, labels = _moved(inputs, labels, treatment.classes, plan.device)
                    inputs, labels = treatment.batch(inputs, labels, numbers)  # on_batch
                    last = number == len(micro_batches)
                    with _synchronized(model, last):
                        with plan.autocast():
                            output = _called(model, run.model, inputs, plan)  # on_features
                            logits = _judged(treatment.logits_of(output), labels)
                            loss = treatment.loss(_mean(run.loss(logits, labels)))  # on_loss
                        share = len(labels) / examples
                        scaler.scale(loss if share == 1 else loss * share).backward()
                    losses.append(loss.detach() * share)
                    correct += [_correct(logits, labels)] if classifies(labels) else []
                    books.see(labels)
                scaler.unscale_(optimizer)
                treatment.gradients(optimizer)  # on_gradients
                if plan.clip_norm is not None:
                    nn.utils.clip_grad_norm_(plan.parameters, plan.clip_norm)
                scaler.step(optimizer)  # on_step_end
                scaler.update()
                if plan.per_step:
                    plan.scheduler.step()
                treatment.history.record(LOSS, torch.stack(losses).sum())
                if correct:
                    treatment.history.record(CORRECT, torch.stack(correct).sum() / examples)
                vigil.see(losses)
                books.close_step(len(micro_batches), examples, vigil)
            vigil.check()
            treatment.end_epoch()  # on_epoch_end
            books.close_epoch()
        books.end()


def _grouped(batches: Iterator[Any], size: int) -> Iterator[tuple[Any, ...]]:
    while group := tuple(islice(batches, size)):
        yield group


def _moved(inputs: Any, labels: Tensor, classes: int, device: torch.device) -> tuple[Any, Tensor]:
    if classifies(labels) and labels.device.type == "cpu":  # elsewhere a look would wait
        check_labels(labels, classes, len(labels))
    moved = map_tensors(lambda t: t.to(device, non_blocking=True), inputs)
    return moved, labels.to(device, non_blocking=True)


def _called(model: nn.Module, inner: nn.Module, inputs: Any, plan: Plan) -> Any:
    args, kwargs = bind(inner, inputs).arguments()
    if plan.channels_last:
        args, kwargs = map_tensors(_channels_last, (args, kwargs))
    return model(*args, **kwargs)


def _channels_last(tensor: Tensor) -> Tensor:
    is_image = tensor.ndim == 4 and tensor.is_floating_point()
    return tensor.contiguous(memory_format=torch.channels_last) if is_image else tensor


def _judged(logits: Tensor, labels: Tensor) -> Tensor:
    if classifies(labels):
        checks.logits_and_labels(logits, labels)
    return logits


def _mean(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise SettingError(
            f"loss=function gave {given}; it must give the mean over the batch, a tensor of one "
            "number, as torch.nn.functional.cross_entropy does."
        )
    return loss


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    return formulas.correct(logits.detach(), labels).sum()


def _synchronized(model: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Let DDP average gradients over ranks at the last micro-batch only."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    return nullcontext()
