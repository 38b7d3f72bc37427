"""Parts of the examples of a DataLoader: held out, a share of the rest, a fixed few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
)

from imbalance_lens.errors import BatchError

from .._data.shares import rebuilt


def held_out(loader: Iterable[Any], fraction: float, seed: int) -> tuple[DataLoader, DataLoader]:
    """Return a loader of most examples, in the order of the given one, and one of the others.

    Args:
        loader: a DataLoader that gives the numbered examples of its dataset, each once.
        fraction: of the examples that are held out, at least one.
        seed: of their choice; the global random state is not touched.

    Raises:
        BatchError: the examples have no numbers, an order of their own, or are too few.
    """
    whole = _numbered(loader, "An example can only be held out by its number")
    drawn = _drawn(whole, seed)
    count = max(1, round(fraction * len(drawn)))
    if count >= len(drawn):
        raise BatchError(
            f"Of {len(drawn)} example(s), {count} cannot be held out. Give more, or val=, a loader "
            "of held-out examples."
        )
    return _like(whole, sorted(drawn[count:])), _in_order(whole, sorted(drawn[:count]))


def share_of(loader: Iterable[Any], fraction: float, seed: int) -> DataLoader:
    """Return a loader of some of the examples, in the manner of the given one.

    Args:
        loader: as `held_out` takes it.
        fraction: of the examples, at least one.
        seed: of their choice.

    Raises:
        BatchError: the examples have no numbers, or an order of their own.
    """
    whole = _numbered(loader, "A share of the examples can only be chosen by number")
    drawn = _drawn(whole, seed)
    return _like(whole, sorted(drawn[: max(1, round(fraction * len(drawn)))]))


def some_in_order(loader: Iterable[Any], count: int, seed: int) -> Iterable[Any]:
    """Return a loader of a fixed few examples, of all where they have no numbers.

    Args:
        loader: any.
        count: how many.
        seed: of their choice.
    """
    if not is_numbered(loader):
        return loader
    return _in_order(loader, sorted(_drawn(loader, seed)[:count]))


def is_numbered(loader: Iterable[Any]) -> TypeGuard[DataLoader]:
    """Say whether a loader gives the numbered examples of a dataset, each once."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    if loader.batch_size is None:  # batches of its own
        return False
    order = loader.sampler
    if isinstance(order, RandomSampler):
        return not order.replacement and order.num_samples == len(order.data_source)
    return type(order) is SequentialSampler


def _numbered(loader: Iterable[Any], why: str) -> DataLoader:
    if is_numbered(loader):
        return loader
    what = f"a {type(loader).__name__}"
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        order = loader.batch_sampler if loader.batch_size is None else loader.sampler
        what = f"a DataLoader with a {type(order).__name__} that decides itself"
    elif isinstance(loader, DataLoader):
        what = f"a DataLoader of a {type(loader.dataset).__name__} without numbers"
    raise BatchError(
        f"{why}, and the loader is {what}. Give a DataLoader over a dataset of numbered examples, "
        "shuffled or in order; or pass val=, a loader of held-out training examples, and "
        "fraction=1."
    )


def _drawn(loader: DataLoader, seed: int) -> list[int]:
    examples = len(loader.dataset)  # pyright: ignore[reportArgumentType]
    return torch.randperm(examples, generator=torch.Generator().manual_seed(seed)).tolist()


def _like(loader: DataLoader, numbers: Sequence[int]) -> DataLoader:
    part = Subset(loader.dataset, numbers)
    order = loader.sampler
    if isinstance(order, RandomSampler):
        return rebuilt(loader, RandomSampler(part, generator=order.generator), part)
    return rebuilt(loader, SequentialSampler(part), part)


def _in_order(loader: DataLoader, numbers: Sequence[int]) -> DataLoader:
    return DataLoader(
        Subset(loader.dataset, numbers),
        batch_size=loader.batch_size,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator(),
    )
