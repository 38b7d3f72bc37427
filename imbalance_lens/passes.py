"""One pass of a frozen model over data, shown to probes batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .anatomy import Anatomy, find_anatomy
from .anatomy.replay import Replay
from .anatomy.replayer import Replayer
from .batches import bind, device_of
from .errors import BatchError, SettingError
from .observation import Need
from .observer import Observer


def show(
    batches: Iterable[tuple[Any, Tensor]],
    replayer: Replayer,
    observer: Observer,
    *,
    epoch: int = 0,
    training: bool = False,
    comparing: bool = False,
    at_first: Callable[[Replay], None] | None = None,
) -> None:
    """Run a model over batches and show each to the observer.

    Args:
        batches: inputs and labels of each, as `pairs` gives them.
        replayer: of the model; open.
        observer: of the model.
        epoch: state of the model that the batches belong to.
        training: the model was trained on these examples.
        comparing: only for probes that compare training with held-out examples.
        at_first: is given the replay of the first batch before anybody sees it.

    Raises:
        BatchError: a batch that cannot be used.
    """
    device = device_of(replayer.model)
    first: frozenset[str] = frozenset()
    labeled: bool | None = None
    asked = observer.wants(Need.LABELS, 0, training=training)
    for step, (inputs, labels) in enumerate(batches):
        listens = observer.wants(Need.ACTIVATIONS, step, training=training)
        peaks_only = observer.peaks_only(step, training=training)
        given = _names(inputs)
        first = first or given
        with _complete(step, first - given, replayer.anatomy), _numbered(step):
            call = bind(replayer.model, inputs).to(device)
            replay = replayer.capture(call, listen=listens, peaks_only=peaks_only)
        if not replay.examples:
            raise BatchError(
                f"Batch {step + 1} of the loader has no example. Leave empty batches out."
            )
        labeled = len(labels) > 0 if labeled is None else labeled
        if asked and labeled != (len(labels) > 0):
            raise _partly_labeled(step, labeled)
        if step == 0 and at_first is not None:
            at_first(replay)
        with _numbered(step):
            observer.see(
                replay, labels, step=step, epoch=epoch, training=training, comparing=comparing
            )


def _names(inputs: Any) -> frozenset[str]:
    """Return the names, or else the positions, of the inputs that a batch has."""
    if isinstance(inputs, Mapping):
        return frozenset(str(name) for name, value in inputs.items() if value is not None)
    held = inputs if isinstance(inputs, tuple | list) else [inputs]
    return frozenset(f"number {n}" for n, value in enumerate(held, 1) if value is not None)


@contextmanager
def _numbered(step: int) -> Iterator[None]:
    """Say of an error, which may be the model's own, which batch it came with."""
    try:
        yield
    except Exception as error:
        error.add_note(f"(with batch {step + 1} of the loader)")
        raise


def _partly_labeled(step: int, labeled: bool) -> BatchError:
    """Word the complaint about the first batch that is unlike the others."""
    has, others = ("no labels", "have some") if labeled else ("labels", "have none")
    return BatchError(
        f"Batch {step + 1} of the loader has {has}, where those before it {others}. Label every "
        "batch, or none, as with split=lambda batch: (inputs, None); probes that need labels then "
        "say so."
    )


@contextmanager
def _complete(step: int, missing: Collection[str], anatomy: Anatomy) -> Iterator[None]:
    """Blame an error on the inputs that a batch lacks; features made without them are one too."""
    feeds = {name: modality for modality, names in anatomy.inputs.items() for name in names}
    named = ", ".join(
        f"{name!r}" + (f" (of modality {feeds[name]!r})" if name in feeds else "")
        for name in sorted(missing)
    )
    lacking = (
        f"Batch {step + 1} of the loader lacks the input {named}, which the first batch has. Every "
        "batch must hold all modalities: leave such examples out, or put them in a loader of "
        "their own."
    )
    try:
        yield
    except Exception as error:
        if missing:
            raise BatchError(lacking) from error
        raise
    if any(name in feeds for name in missing):
        raise BatchError(lacking)


def who_is_who(model: nn.Module, given: Anatomy | Mapping[str, str] | None, inputs: Any) -> Anatomy:
    """Return the anatomy that was given, or the one that the inputs of a batch show.

    Raises:
        AnatomyError: the model's parts could not be found.
        SettingError: what was given is no anatomy.
    """
    if given is None:
        return find_anatomy(model, inputs)
    if isinstance(given, Anatomy):
        return given
    if isinstance(given, Mapping):
        return Anatomy(encoders=given)
    raise SettingError(
        f"anatomy is a {type(given).__name__}. Give an Anatomy, a mapping such as "
        "{'audio': 'path.to.module', ...}, or None to have it found."
    )
