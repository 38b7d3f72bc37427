"""A rank's share of the examples that a loader gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from imbalance_lens.errors import BatchError, ImbalanceLensWarning

from .._distributed import rank, world_size


def training_share(loader: Iterable[Any], name: str, seed: int) -> Iterable[Any]:
    """Return a loader of as many examples on each rank; some are repeated to that end.

    Args:
        loader: returned as it is where there is a single rank, where it has a DistributedSampler,
            and, with a warning, where its examples have no numbers.
        name: of the loader, for messages.
        seed: of the order, where the loader shuffles.

    Raises:
        BatchError: the examples are given in an order that cannot be shared out.
    """
    if not _to_share(loader, name) or any(isinstance(p, DistributedSampler) for p in parts(loader)):
        return loader
    _check_order(loader, name, (RandomSampler, SequentialSampler))
    sampler = DistributedSampler(
        loader.dataset,
        num_replicas=world_size(),
        rank=rank(),
        shuffle=isinstance(loader.sampler, RandomSampler),
        seed=seed,
        drop_last=loader.drop_last,
    )
    return rebuilt(loader, sampler)


def validation_share(loader: Iterable[Any], name: str) -> Iterable[Any]:
    """Return a loader of this rank's examples, without order; no example is on two ranks.

    Args:
        loader: returned as it is where there is a single rank and, with a warning, where its
            examples have no numbers.
        name: of the loader, for messages.

    Raises:
        BatchError: the examples are given in an order that cannot be shared out.
    """
    if not _to_share(loader, name):
        return loader
    # A DistributedSampler gives some examples twice, to make all shares as large.
    _check_order(loader, name, (RandomSampler, SequentialSampler, DistributedSampler))
    return rebuilt(loader, Share(len(loader.dataset)))  # pyright: ignore[reportArgumentType]


def is_part(sampler: object) -> bool:
    """Say whether a sampler gives a rank's part of examples that there are, maybe none of them."""
    return isinstance(sampler, Share) and sampler.examples > 0


class Share(Sampler[int]):
    """Every so many-th example of a dataset, none of them twice.

    Args:
        examples: how many the dataset has.

    Example:
        >>> list(Share(3))
        [0, 1, 2]
    """

    def __init__(self, examples: int) -> None:
        self.examples = examples
        self._own = range(rank(), examples, world_size())

    def __iter__(self) -> Iterator[int]:
        """Return the numbers of the examples."""
        return iter(self._own)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._own)


def parts(loader: Iterable[Any]) -> list[Any]:
    """Return what may decide on the order of the examples, the loader first."""
    if not isinstance(loader, DataLoader):
        return [loader]
    inner = getattr(loader.batch_sampler, "sampler", None)
    found = [loader, loader.dataset, loader.sampler, loader.batch_sampler, inner]
    return list({id(part): part for part in found}.values())


def rebuilt(
    loader: DataLoader, sampler: Sampler[int], dataset: Dataset[Any] | None = None
) -> DataLoader:
    """Return a loader like another, of other numbers, and maybe of another dataset."""
    return DataLoader(
        loader.dataset if dataset is None else dataset,
        batch_size=loader.batch_size,
        sampler=sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=loader.drop_last,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        pin_memory_device=loader.pin_memory_device,
        in_order=loader.in_order,
    )


def _to_share(loader: Iterable[Any], name: str) -> TypeGuard[DataLoader]:
    if world_size() == 1:
        return False
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        return True
    warnings.warn(
        f"{name} is no DataLoader with a dataset of numbered examples, so each of the "
        f"{world_size()} ranks goes through all of it. If it does not give each rank a share of "
        "its own, all ranks do the same work.",
        ImbalanceLensWarning,
        stacklevel=4,
    )
    return False


def _check_order(loader: DataLoader, name: str, known: tuple[type, ...]) -> None:
    own_batches = loader.batch_size is None and loader.batch_sampler is not None
    order = loader.batch_sampler if own_batches else loader.sampler
    each_once = not isinstance(order, RandomSampler) or (
        not order.replacement and order.num_samples == len(order.data_source)
    )
    if own_batches or type(order) not in known or not each_once:
        raise BatchError(
            f"{name} takes its examples from a {type(order).__name__}"
            f"{'' if each_once else ' that does not give each once'}, which cannot be shared out "
            f"among {world_size()} ranks. Give a DataLoader with a DistributedSampler, or any "
            "other iterable that gives each rank batches of its own."
        )
