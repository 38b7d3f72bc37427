"""Which examples are in a batch is known, and nothing else of the loader is different."""

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)

from imbalance_lens.errors import BatchError
from recipes._data.batches import TrainingLoader

from .test_batches import LOADERS as RANDOM_LOADERS

VALUES = 100 + torch.arange(11)


class Items(Dataset):
    """Gives (value, label), and notes on which attributes workers depend."""

    offset = 0

    def __len__(self) -> int:
        return 11

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return VALUES[number] + self.offset, number % 3


class Together(Items):
    """Gives the items of a batch at once."""

    asked = 0

    def __getitem__(self, number: int) -> Any:
        raise AssertionError("items are given together")

    def __getitems__(self, numbers: list[int]) -> list[tuple[Tensor, int]]:
        self.asked += 1
        return [(VALUES[number], number % 3) for number in numbers]


class Whole(Items):
    """Gives batches for lists of numbers."""

    def __getitem__(self, numbers: Any) -> Any:
        return VALUES[numbers], torch.as_tensor(numbers) % 3


def training(loader: Any, **settings: Any) -> TrainingLoader:
    return TrainingLoader(loader, **{"split": None, "seed": 0, "numbers": True, **settings})


def set_offset(_: int) -> None:
    info = get_worker_info()
    assert info is not None
    assert info.dataset.offset == 0
    info.dataset.offset = 1000


KINDS: dict[str, Any] = {
    "shuffled": lambda: DataLoader(Items(), 3, shuffle=True),
    "weighted": lambda: DataLoader(Items(), 3, sampler=WeightedRandomSampler([1.0] * 11, 20)),
    "together": lambda: DataLoader(Together(), 3, shuffle=True),
    "joined": lambda: DataLoader(ConcatDataset([Items(), Items()]), 3, shuffle=True),
    "workers": lambda: DataLoader(Items(), 3, shuffle=True, num_workers=2),
    "own batches": lambda: DataLoader(
        Items(), batch_sampler=BatchSampler(SequentialSampler(Items()), 4, False)
    ),
    "whole batches": lambda: DataLoader(
        Whole(), sampler=BatchSampler(SequentialSampler(Items()), 4, False), batch_size=None
    ),
    "a list": lambda: list(DataLoader(Items(), 3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_the_example_of_its_number(kind: str):
    loader = training(KINDS[kind]())
    for _ in range(2):
        for inputs, labels, numbers in loader.numbered_epoch(0):
            assert numbers is not None
            assert torch.equal(inputs, VALUES[numbers % 11])
            assert torch.equal(labels, numbers % 11 % 3)
    every = [numbers for _, _, numbers in loader.examples() if numbers is not None]
    assert torch.cat(every).tolist() == list(range(22 if kind == "joined" else 11))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", RANDOM_LOADERS)
def test_batches_and_random_states_are_those_of_a_loader_without_numbers(kind: str, workers: int):
    ends = []
    for numbers in (False, True):
        torch.manual_seed(0)
        loader = training(RANDOM_LOADERS[kind](num_workers=workers), numbers=numbers)
        first = [inputs[:, 0].tolist() for inputs, _ in loader.epoch(0)]
        ends.append((first, torch.get_rng_state().tolist(), loader.batches, len(loader.state())))
    if kind != "with replacement":  # its generator is the same for both
        assert ends[0] == ends[1]


def test_a_worker_sees_the_user_s_dataset():
    loader = training(DataLoader(Items(), 3, num_workers=1, worker_init_fn=set_offset))
    for inputs, _, numbers in loader.numbered_epoch(0):
        assert numbers is not None
        assert torch.equal(inputs, VALUES[numbers] + 1000)


def test_a_batch_that_lost_examples_on_its_way_is_named():
    def without_the_first(items: list[tuple[Tensor, int]]) -> Any:
        return torch.utils.data.default_collate(items[1:])

    loader = training(DataLoader(Items(), 3, collate_fn=without_the_first))
    with pytest.raises(BatchError, match=r"2 labels for 3 numbers .* leaves examples out"):
        list(loader.numbered_epoch(0))


def test_a_dataset_of_whole_batches_is_named():
    class Batches(Items):
        def __getitem__(self, number: int) -> Any:
            return VALUES[:4], torch.zeros(4, dtype=torch.int64)

    loader = training(DataLoader(Batches(), batch_size=None))
    with pytest.raises(BatchError, match="the dataset gives whole batches"):
        list(loader.numbered_epoch(0))


def test_a_sampler_of_other_names_is_named():
    class Named(Items):
        def __getitem__(self, number: Any) -> Any:
            return VALUES[number[1]], 0

    sampler = [("first", 0), ("second", 1)]
    loader = training(DataLoader(Named(), 2, sampler=sampler))
    with pytest.raises(BatchError, match=r"names examples by \[\('first', 0\), \('second', 1\)\]"):
        list(loader.numbered_epoch(0))


def test_a_loader_that_changes_batches_itself_needs_a_split_with_numbers():
    class OwnWay(DataLoader):
        def __iter__(self) -> Any:
            for values, labels in super().__iter__():
                yield {"x": values, "y": labels, "ids": values - 100}

    with pytest.raises(BatchError, match="split=function, which returns"):
        training(OwnWay(Items(), 3))
    loader = training(OwnWay(Items(), 3), split=lambda b: (b["x"], b["y"], b["ids"]))
    for inputs, _, numbers in loader.numbered_epoch(0):
        assert numbers is not None
        assert torch.equal(inputs, VALUES[numbers])


def test_a_kind_of_loader_that_only_is_made_in_another_way_stays_what_it_is():
    class Halved(DataLoader):
        def __init__(self, dataset: Any, size: int) -> None:
            super().__init__(dataset, size // 2)
            self.size = size

    loader = training(Halved(TensorDataset(VALUES, VALUES % 3), 6)).loader
    assert isinstance(loader, Halved)
    assert loader.size == 6


def test_what_workers_get_can_be_sent_to_another_process():
    loader = training(DataLoader(Items(), 3)).loader
    sent = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    dataset, collate = sent
    values, numbers = collate(dataset.__getitems__([4, 2]))
    assert values[0].tolist() == [104, 102]
    assert numbers.tolist() == [4, 2]


def test_a_split_may_also_leave_the_numbers_out():
    loader = training(DataLoader(Items(), 3), split=lambda batch: (batch[0], batch[1]))
    for inputs, _, numbers in loader.numbered_epoch(0):
        assert numbers is not None
        assert torch.equal(inputs, VALUES[numbers])


def test_where_nobody_asks_there_are_no_numbers_and_no_wrapping():
    given = DataLoader(Items(), 3)
    loader = training(given, numbers=False)
    assert loader.loader is given
    assert [numbers for _, _, numbers in loader.numbered_epoch(0)] == [None] * 4
