"""Which example of the data set each row of a batch is, whatever the sampler does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from imbalance_lens.batches import Split, raw_batch
from imbalance_lens.errors import BatchError

from .shares import Share

_WITH_NUMBERS = "pass split=function, which returns (inputs, labels, numbers)"


class Numbered(NamedTuple):
    """What a loader gives, and the numbers of the examples in it."""

    content: Any
    numbers: Any


class NumberedDataset(Dataset[Numbered]):
    """A dataset whose items know their numbers; in all else it is the one inside.

    Args:
        inner: gives an item for a number.

    Example:
        >>> NumberedDataset(["first", "second"])[1]
        Numbered(content='second', numbers=1)
    """

    def __init__(self, inner: Any) -> None:
        vars(self)["inner"] = inner

    def __getitem__(self, number: Any) -> Numbered:
        return Numbered(self.inner[number], number)

    def __getitems__(self, numbers: list[Any]) -> Numbered:
        together = getattr(self.inner, "__getitems__", None)  # as torch's own fetcher asks
        items = together(numbers) if together else [self.inner[number] for number in numbers]
        return Numbered(items, numbers)

    def __len__(self) -> int:
        return len(self.inner)

    # A worker_init_fn reads and sets attributes of what it takes for the user's dataset.
    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.inner,)


class NumberedCollate:
    """Collates items as the user does, and keeps their numbers beside.

    Args:
        inner: the user's own way.

    Raises:
        BatchError: the sampler names examples by something else than whole numbers.
    """

    def __init__(self, inner: Callable[[Any], Any]) -> None:
        self.inner = inner

    def __call__(self, given: Numbered) -> Numbered:
        try:
            numbers = torch.as_tensor(given.numbers, dtype=torch.int64).reshape(-1)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BatchError(
                f"The sampler names examples by {given.numbers!r}, and whole numbers are needed to "
                f"know them again. Give a sampler of numbers, or {_WITH_NUMBERS}."
            ) from error
        return Numbered(self.inner(given.content), numbers)


class NumberedBatches:
    """Batches of a list, whose examples are counted in their order.

    Args:
        batches: always the same, in the same order.
        split: as `raw_batch` takes it.
    """

    def __init__(self, batches: list[Any] | tuple[Any, ...], split: Split | None) -> None:
        self._batches = batches
        self._split = split

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Numbered]:
        """Return the batches with the numbers of their examples."""
        seen = 0
        for batch in self._batches:
            count = len(labeled(batch, self._split)[1])
            yield Numbered(batch, torch.arange(seen, seen + count))
            seen += count


def numbered(loader: Iterable[Any], split: Split | None) -> Iterable[Any]:
    """Return a loader of the same batches that says which examples are in them.

    A DataLoader keeps its sampler, workers and random generators: only its dataset and its
    collate function are wrapped.

    Args:
        loader: a DataLoader over a dataset of numbered examples, or a list of batches; where
            there is a `split`, anything, as that may give the numbers.
        split: as `raw_batch` takes it.

    Raises:
        BatchError: the examples have no numbers.
    """
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        own_way = type(loader).__iter__ is not DataLoader.__iter__  # it would meet our wrapping
        if not (own_way or isinstance(loader.dataset, NumberedDataset)):
            return _twin(
                loader,
                dataset=NumberedDataset(loader.dataset),
                collate_fn=NumberedCollate(loader.collate_fn),
            )
        if not own_way:
            return loader
    elif isinstance(loader, list | tuple):
        return NumberedBatches(loader, split)
    if split is None:
        what = getattr(loader, "dataset", loader)
        raise BatchError(
            f"The examples of a {type(what).__name__} have no numbers by which they are known in "
            "every epoch. Give a DataLoader over a dataset with __getitem__ and __len__, or "
            f"{_WITH_NUMBERS}."
        )
    return loader


def all_in_order(loader: Iterable[Any], dataset: Any = None) -> Iterable[Any]:
    """Return a loader of each example once, of this rank's share of them.

    Args:
        loader: as `numbered` gives it; one whose examples nobody but it can give is returned as it
            is.
        dataset: takes the place of the loader's: the same examples, by the same numbers.

    Raises:
        BatchError: the dataset has another number of examples.
    """
    if not isinstance(loader, DataLoader) or not isinstance(loader.dataset, NumberedDataset):
        return loader
    if loader.batch_sampler is None:  # the dataset gives whole batches
        return loader
    examples = len(loader.dataset)
    if dataset is not None and len(dataset) != examples:
        raise BatchError(
            f"The dataset without augmentation has {len(dataset)} examples, and the one that is "
            f"trained on has {examples}. Give one with the same examples in the same order."
        )
    own = Share(examples)
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 1
    return _twin(
        loader,
        dataset=loader.dataset if dataset is None else NumberedDataset(dataset),
        sampler=own,
        batch_sampler=BatchSampler(own, size, drop_last=False),
        drop_last=False,
        persistent_workers=False,
    )


def labeled(batch: Any, split: Split | None) -> tuple[Any, Tensor, Tensor | None]:
    """Return inputs, labels and numbers of a batch; None where nobody knows these.

    Raises:
        BatchError: another number of numbers than of examples.
    """
    numbers = None
    if isinstance(batch, Numbered):
        batch, numbers = batch
    if split is not None:
        given: tuple[Any, ...] = split(batch)
        if len(given) == 3:
            numbers = torch.as_tensor(given[2], dtype=torch.int64)
        inputs, labels = raw_batch(batch, lambda _: (given[0], given[1]))
    else:
        inputs, labels = raw_batch(batch)
    if numbers is not None and labels.ndim and len(numbers) != len(labels):
        raise BatchError(
            f"A batch has {len(labels)} labels for {len(numbers)} numbers of examples: the dataset "
            "gives whole batches, or collate_fn leaves examples out. Give one item per number, or "
            f"{_WITH_NUMBERS}."
        )
    return inputs, labels, numbers


def _twin(loader: DataLoader, **changed: Any) -> DataLoader:
    """Return a shallow copy, which keeps what a subclass of DataLoader adds."""
    twin = copy.copy(loader)
    vars(twin).update(changed, _iterator=None)
    return twin
