"""Reading a loader once, and leaving no trace of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .batches import Split, split_batch
from .errors import BatchError


def pairs(
    loader: Iterable[Any], split: Split | None = None, *, name: str = "The loader"
) -> Iterator[tuple[Any, Tensor]]:
    """Yield the inputs and the labels of each batch.

    Args:
        loader: an iterable of batches.
        split: as `split_batch` takes it; called once per batch.
        name: of the loader, for messages.

    Raises:
        BatchError: it cannot be iterated, gives no batch, or one of no known form.
    """
    batch = _NOTHING
    for batch in iterated(loader, name):
        yield split_batch(batch, split)
    if batch is _NOTHING:
        raise no_batch(name)


def no_batch(name: str = "The loader") -> BatchError:
    """Return the complaint about a loader that is empty."""
    return BatchError(
        f"{name} gave no batch. Give one with at least one example; a generator that was read "
        "once gives none again, where a list or a DataLoader does."
    )


def iterated(loader: Iterable[Any], name: str = "The loader") -> Iterator[Any]:
    """Return a new iterator over a loader's batches.

    Raises:
        BatchError: it cannot be iterated.
    """
    if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
        raise BatchError(
            f"{name} is a {type(loader).__name__}, which gives no batches. Give a DataLoader, or "
            "any other iterable of batches."
        )
    return iter(loader)


@contextmanager
def loader_kept(loader: Iterable[Any]) -> Iterator[None]:
    """Give back the random state of the generators that a DataLoader owns."""
    owned = generators(loader)
    states = [generator.get_state() for generator in owned]
    try:
        yield
    finally:
        for generator, state in zip(owned, states, strict=True):
            generator.set_state(state)


def generators(loader: Iterable[Any]) -> list[torch.Generator]:
    """Return the generators that a DataLoader owns, each once and in a fixed order."""
    if not isinstance(loader, DataLoader):
        return []
    owners = [loader, loader.sampler, getattr(loader.batch_sampler, "sampler", None)]
    found = (getattr(owner, "generator", None) for owner in owners)
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


_NOTHING = object()
