"""What a training iterates: whole epochs, the rest of an interrupted one, the share of a rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from imbalance_lens.batches import Split
from imbalance_lens.errors import BatchError, CheckpointError
from imbalance_lens.hooks.frozen import random_state_kept
from imbalance_lens.loaders import generators, iterated, no_batch

from .numbering import all_in_order, labeled, numbered
from .shares import is_part, parts, training_share, validation_share


class TrainingLoader:
    """Gives the labeled batches of each epoch, to each rank its share.

    With the random states of an epoch's start, global ones and `state`, an epoch gives the same
    batches again. Only what datasets draw inside of persistent workers is not repeated.

    Args:
        loader: the user's; a DataLoader is built anew for several ranks, anything else is not.
        split: as `raw_batch` takes it; may also return (inputs, labels, numbers of the examples).
        seed: of the order in which several ranks see the examples; the same on all of them.
        numbers: whether it is to be known which examples are in a batch.

    Raises:
        BatchError: the examples cannot be shared out among the ranks, or have no numbers.

    Attributes:
        loader: the one that is iterated.
        split: as given.
    """

    def __init__(
        self, loader: Iterable[Any], *, split: Split | None, seed: int, numbers: bool = False
    ) -> None:
        shared = training_share(loader, "The loader", seed)
        self.loader = numbered(shared, split) if numbers else shared
        self.split = split

    @property
    def batches(self) -> int | None:
        """Number of batches in an epoch, where the loader knows it."""
        return _length(self.loader)

    def check_epochs(self, epochs: int) -> None:
        """Complain about a loader that cannot give so many epochs.

        Raises:
            BatchError: it is an iterator.
        """
        _check_passes(self.loader, "The loader", epochs)

    def epoch(self, number: int, skip: int = 0) -> Iterator[tuple[Any, Tensor]]:
        """Return the inputs and the labels of an epoch's batches, see `numbered_epoch`."""
        return ((inputs, labels) for inputs, labels, _ in self.numbered_epoch(number, skip))

    def numbered_epoch(
        self, number: int, skip: int = 0
    ) -> Iterator[tuple[Any, Tensor, Tensor | None]]:
        """Return inputs, labels and, where it was asked for, numbers of an epoch's batches.

        Whatever an epoch's start draws from random states is drawn by this call, also what
        skipped batches draw; only that of the others is drawn when they are asked for.

        Args:
            number: of the epoch, counted from 0.
            skip: number of first batches that are left out.

        Raises:
            BatchError: the loader cannot start anew, or gives no batch, no labels, or less than
                is to be skipped.
        """
        self.check_epochs(number + 1)
        for part in parts(self.loader):
            if callable(set_epoch := getattr(part, "set_epoch", None)):
                set_epoch(number)
        _draw_as_new_workers_do(self.loader)
        batches = iterated(self.loader)
        skipped = sum(1 for _ in islice(batches, skip))
        if skipped < skip:
            raise BatchError(
                f"The loader gave {skipped} batches where the interrupted training had seen "
                f"{skip}. Give the loader of that training, or start anew with resume=False."
            )
        return _labeled(batches, self.split, "The loader", seen=skipped)

    def examples(self, dataset: Any = None) -> Iterator[tuple[Any, Tensor, Tensor | None]]:
        """Return this rank's share of the examples, each once where they have numbers.

        Args:
            dataset: takes the place of the loader's: the same examples, by the same numbers.
        """
        whole = all_in_order(self.loader, dataset)
        empty_share = isinstance(whole, DataLoader) and is_part(whole.sampler)
        return _labeled(iterated(whole), self.split, "The loader", empty_share)

    def state(self) -> dict[str, Any]:
        """Return the random states of the generators that the loader owns."""
        return {"generators": [owned.get_state() for owned in generators(self.loader)]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            CheckpointError: it is that of a loader with other generators.
        """
        owned, states = generators(self.loader), state["generators"]
        if len(owned) != len(states):
            raise CheckpointError(
                f"The checkpoint is of a loader with {len(states)} random generators of its own; "
                f"this one has {len(owned)}. Give the loader of the interrupted training, or start "
                "anew with resume=False."
            )
        for generator, then in zip(owned, states, strict=True):
            generator.set_state(then)


class ValidationLoader:
    """Gives labeled batches, so that sums over all ranks count each example of a DataLoader once.

    Args:
        loader: the user's; for several ranks, a DataLoader is built anew without order.
        split: as `raw_batch` takes it.

    Raises:
        BatchError: the examples cannot be shared out among the ranks.

    Attributes:
        loader: the one that is iterated.
    """

    def __init__(self, loader: Iterable[Any], *, split: Split | None) -> None:
        self.loader = validation_share(loader, _VALIDATION)
        self.split = split
        self._passes = 0

    @property
    def batches(self) -> int | None:
        """Number of batches on this rank, where the loader knows it."""
        return _length(self.loader)

    @property
    def single_pass(self) -> bool:
        """Whether what was read once is gone, as from an iterator, or from what keeps one."""
        source: Any = self.loader
        if isinstance(source, DataLoader):
            if source.num_workers or not isinstance(source.dataset, IterableDataset):
                return False
            source = source.dataset
        with random_state_kept():
            return iterated(source, _VALIDATION) is iterated(source, _VALIDATION)

    def check_epochs(self, epochs: int) -> None:
        """Complain about a loader that cannot give so many epochs.

        Raises:
            BatchError: it can be gone through only once.
        """
        _check_passes(self.loader, _VALIDATION, epochs, single=self.single_pass)

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        """Return the inputs and the labels of all batches of this rank."""
        self._passes += 1
        _check_passes(self.loader, _VALIDATION, self._passes)
        empty_share = isinstance(self.loader, DataLoader) and is_part(self.loader.sampler)
        found = _labeled(iterated(self.loader, _VALIDATION), self.split, _VALIDATION, empty_share)
        return ((inputs, labels) for inputs, labels, _ in found)


_VALIDATION = "The validation loader"


def _labeled(
    batches: Iterator[Any], split: Split | None, name: str, empty: bool = False, *, seen: int = 0
) -> Iterator[tuple[Any, Tensor, Tensor | None]]:
    for seen, batch in enumerate(batches, seen + 1):  # noqa: B020
        inputs, labels, numbers = labeled(batch, split)
        if not labels.numel():
            raise BatchError(
                f"{name} gave no labels in batch {seen}, and nothing can be learned or judged "
                "without. Give (inputs, labels), or pass split=function, which returns them."
            )
        yield inputs, labels, numbers
    if not seen and not empty:
        raise no_batch(name)


def _check_passes(loader: Iterable[Any], name: str, passes: int, *, single: bool = False) -> None:
    if passes > 1 and (single or isinstance(loader, Iterator)):
        raise BatchError(
            f"{name} is a {type(loader).__name__}, which can be gone through only once, and "
            f"epoch {passes} is asked for. Give a DataLoader, a list, or an object whose __iter__ "
            "starts anew."
        )


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader)  # pyright: ignore[reportArgumentType]
    except TypeError:
        return None


def _draw_as_new_workers_do(loader: Iterable[Any]) -> None:
    """Draw the seed that persistent workers no longer need, as a resumed training draws it."""
    if isinstance(loader, DataLoader) and loader.persistent_workers and loader._iterator:
        torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
