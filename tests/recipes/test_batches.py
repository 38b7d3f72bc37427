"""An epoch gives the same batches again, from wherever a training was interrupted."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from imbalance_lens.errors import BatchError, CheckpointError
from imbalance_lens.loaders import loader_kept
from recipes._data.batches import TrainingLoader, ValidationLoader
from recipes._training.checkpoint import random_states, set_random_states


class Augmented(Dataset):
    """Numbers with noise of all three kinds of random numbers."""

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002
        return torch.tensor([index, *noise]), index % 3


def shuffled(**settings: Any) -> DataLoader:
    return DataLoader(Augmented(), batch_size=2, shuffle=True, **settings)


LOADERS: dict[str, Callable[..., DataLoader]] = {
    "shuffled": shuffled,
    "with a generator": lambda **more: shuffled(generator=torch.Generator().manual_seed(3), **more),
    "weighted": lambda **more: DataLoader(
        Augmented(), batch_size=2, sampler=WeightedRandomSampler([1.0, 2.0] * 5 + [3.0], 9), **more
    ),
    "weighted with a generator": lambda **more: DataLoader(
        Augmented(),
        batch_size=2,
        sampler=WeightedRandomSampler([1.0] * 11, 9, generator=torch.Generator().manual_seed(3)),
        generator=torch.Generator().manual_seed(4),
        **more,
    ),
    "with replacement": lambda **more: DataLoader(
        Augmented(),
        batch_size=2,
        sampler=RandomSampler(Augmented(), replacement=True, num_samples=70, generator=GENERATOR),
        **more,
    ),
}
GENERATOR = torch.Generator()


def seen(batches: Iterator[tuple[Tensor, Tensor]], train: bool = True) -> list[list[Any]]:
    """Return all batches; a training step draws random numbers between them."""
    found = []
    for inputs, labels in batches:
        found.append([inputs.tolist(), labels.tolist()])
        if train:
            torch.rand(5), random.random()
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", LOADERS)
def test_an_interrupted_epoch_goes_on_with_exactly_the_batches_that_were_left(
    kind: str, workers: int
) -> None:
    GENERATOR.manual_seed(1)
    torch.manual_seed(0)
    loader = TrainingLoader(LOADERS[kind](num_workers=workers), split=None, seed=0)
    seen(loader.epoch(0))
    states, own = random_states(), loader.state()
    whole = seen(loader.epoch(1))
    after = random_states()
    assert len(whole) == loader.batches

    for skip in (1, len(whole)) if workers else range(len(whole) + 1):
        set_random_states(states)
        loader.set_state(own)
        batches, done = loader.epoch(1), []
        for _ in range(skip):  # until it is killed
            done += seen(iter([next(batches)]))
        at_kill = random_states()

        resumed = TrainingLoader(LOADERS[kind](num_workers=workers), split=None, seed=0)
        set_random_states(states)
        resumed.set_state(own)
        batches = resumed.epoch(1, skip=skip)
        set_random_states(at_kill)
        assert done + seen(batches) == whole
        assert torch.equal(torch.get_rng_state(), after["torch"])
        assert random_states()["python"] == after["python"]


def test_the_order_is_repeated_even_where_workers_persist() -> None:
    def loader() -> TrainingLoader:
        given = shuffled(num_workers=1, persistent_workers=True)
        return TrainingLoader(given, split=None, seed=0)

    torch.manual_seed(0)
    whole = loader()
    seen(whole.epoch(0))
    states = random_states()
    epochs = [[labels for _, labels in seen(whole.epoch(number))] for number in (1, 2)]
    set_random_states(states)
    resumed = loader()
    again = [[labels for _, labels in seen(resumed.epoch(number))] for number in (1, 2)]
    assert again == epochs


def test_every_epoch_is_shuffled_anew_and_told_its_number() -> None:
    class Told(TensorDataset):
        epochs: list[int] = []  # noqa: RUF012

        def set_epoch(self, number: int) -> None:
            self.epochs.append(number)

    data = Told(torch.arange(20.0), torch.arange(20))
    loader = TrainingLoader(DataLoader(data, batch_size=20, shuffle=True), split=None, seed=0)
    assert seen(loader.epoch(0)) != seen(loader.epoch(4))
    assert data.epochs == [0, 4]


@pytest.mark.parametrize(
    "labels", [torch.tensor([0.5, 1.5]), torch.eye(2), torch.tensor([1, 0]), torch.ones(2, 1)]
)
def test_labels_are_of_whatever_kind_the_loss_takes(labels: Tensor) -> None:
    batch = (torch.ones(2, 3), labels)
    for batches in (
        TrainingLoader([batch], split=None, seed=0).epoch(0),
        ValidationLoader([batch], split=None),
    ):
        ((_, given),) = batches
        assert torch.equal(given, labels)


def test_a_function_of_the_user_splits_batches() -> None:
    loader = [{"x": torch.ones(2), "y": [1, 0]}]
    training = TrainingLoader(loader, split=lambda b: (b["x"], b["y"]), seed=0)
    ((inputs, labels),) = training.epoch(0)
    assert inputs is loader[0]["x"]
    assert labels.tolist() == [1, 0]


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return iter([(torch.ones(1), 0)] * 3)


def test_batches_are_counted_where_the_loader_can() -> None:
    counted = DataLoader(Augmented(), batch_size=4)
    assert TrainingLoader(counted, split=None, seed=0).batches == 3
    assert ValidationLoader(counted, split=None).batches == 3
    assert TrainingLoader(DataLoader(Stream()), split=None, seed=0).batches is None
    assert len(seen(TrainingLoader(DataLoader(Stream()), split=None, seed=0).epoch(1, skip=1))) == 2


BATCH = (torch.ones(2, 3), torch.tensor([0, 1]))


def test_a_loader_that_can_be_gone_through_once_gives_one_epoch() -> None:
    loader = TrainingLoader(iter([BATCH]), split=None, seed=0)
    loader.check_epochs(1)
    with pytest.raises(BatchError, match=r"list_iterator, .* and epoch 3 is asked for"):
        loader.check_epochs(3)
    assert len(list(loader.epoch(0))) == 1
    with pytest.raises(BatchError, match="only once, and epoch 2 is asked for"):
        loader.epoch(1)
    validation = ValidationLoader((batch for batch in [BATCH]), split=None)
    assert len(list(validation)) == 1
    with pytest.raises(BatchError, match="The validation loader is a generator"):
        iter(validation)
    again = ValidationLoader([BATCH], split=None)
    assert [len(list(again)) for _ in range(2)] == [1, 1]


def test_loaders_that_give_nothing_are_explained() -> None:
    with pytest.raises(BatchError, match="The loader gave no batch"):
        list(TrainingLoader([], split=None, seed=0).epoch(0))
    with pytest.raises(BatchError, match="The validation loader gave no batch"):
        list(ValidationLoader([], split=None))
    with pytest.raises(BatchError, match="The loader is a int, which gives no batches"):
        TrainingLoader(3, split=None, seed=0).epoch(0)  # type: ignore[arg-type]
    with pytest.raises(
        BatchError, match="gave 1 batches where the interrupted training had seen 2"
    ):
        TrainingLoader([BATCH], split=None, seed=0).epoch(0, skip=2)
    assert list(TrainingLoader([BATCH], split=None, seed=0).epoch(0, skip=1)) == []


def test_batches_without_labels_are_explained() -> None:
    with pytest.raises(BatchError, match=r"The loader gave no labels in batch 3, and nothing can"):
        list(TrainingLoader([BATCH, BATCH, BATCH[0]], split=None, seed=0).epoch(0, skip=1))
    with pytest.raises(BatchError, match="The validation loader gave no labels in batch 1"):
        list(ValidationLoader([{"audio": BATCH[0]}], split=None))


def test_the_state_of_another_loader_is_refused() -> None:
    state = TrainingLoader(LOADERS["with a generator"](), split=None, seed=0).state()
    with pytest.raises(
        CheckpointError, match="with 1 random generators of its own; this one has 0"
    ):
        TrainingLoader(shuffled(), split=None, seed=0).set_state(state)


def test_a_loader_without_a_sampler_class_is_looked_at_without_a_trace() -> None:
    loader = DataLoader(Augmented(), batch_size=2, sampler=[3, 1, 2])
    with loader_kept(loader):
        assert len(list(loader)) == 2
    assert TrainingLoader(loader, split=None, seed=0).state() == {"generators": []}
