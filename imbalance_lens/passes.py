"""One pass of a frozen model over data, shown to probes batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from .anatomy import Anatomy, find_anatomy
from .anatomy.replay import Replay
from .anatomy.replayer import Replayer
from .batches import Split, bind, device_of, split_batch
from .errors import BatchError
from .observation import Need
from .observer import Observer


def show(
    batches: Iterable[Any],
    replayer: Replayer,
    observer: Observer,
    *,
    split: Split | None = None,
    epoch: int = 0,
    training: bool = False,
    comparing: bool = False,
    at_first: Callable[[Replay], None] | None = None,
) -> None:
    """Run a model over batches and show each to the observer.

    Args:
        batches: as `diagnose` takes them.
        replayer: of the model; open.
        observer: of the model.
        split: gets (inputs, labels) out of batches of other kinds.
        epoch: state of the model that the batches belong to.
        training: the model was trained on these examples.
        comparing: only for probes that compare training with held-out examples.
        at_first: is given the replay of the first batch before anybody sees it.

    Raises:
        BatchError: there was no batch, or one that cannot be used.
    """
    device = device_of(replayer.model)
    step = -1
    for step, batch in enumerate(batches):
        inputs, labels = split_batch(batch, split)
        listen = observer.wants(Need.ACTIVATIONS, step, training=training)
        replay = replayer.capture(bind(replayer.model, inputs).to(device), listen=listen)
        if step == 0 and at_first is not None:
            at_first(replay)
        observer.see(replay, labels, step=step, epoch=epoch, training=training, comparing=comparing)
    if step < 0:
        raise no_batch("The loader of training examples" if training else "The loader")


def who_is_who(
    model: nn.Module,
    given: Anatomy | Mapping[str, str] | None,
    batches: Iterable[Any],
    split: Split | None = None,
) -> Anatomy:
    """Return the anatomy that was given, or the one that the first batch shows.

    Raises:
        AnatomyError: the model's parts could not be found.
        BatchError: nothing was given and there is no batch.
    """
    if isinstance(given, Anatomy):
        return given
    if given is not None:
        return Anatomy(encoders=given)
    for batch in batches:
        return find_anatomy(model, split_batch(batch, split)[0])
    raise no_batch()


def no_batch(loader: str = "The loader") -> BatchError:
    """Word the complaint about a loader that is empty."""
    return BatchError(f"{loader} gave no batch. Give one with at least one example.")
