"""Two processes that share sums, gradients, seeds and data as one process would have them."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from imbalance_lens.errors import BatchError, ImbalanceLensWarning
from recipes import _distributed as ranks
from recipes._data.batches import TrainingLoader, ValidationLoader


def test_a_single_process_needs_no_group() -> None:
    with ranks.started():
        assert not distributed.is_initialized()
        assert (ranks.rank(), ranks.world_size(), ranks.is_main()) == (0, 1, True)
        ranks.barrier()
        assert ranks.from_all_ranks("a") == ["a"]
        number = torch.tensor(2.0)
        total = ranks.sum_over_ranks(number)
        assert total == number
        assert total is not number
        parameter = nn.Parameter(torch.ones(2))
        parameter.grad = torch.ones(2)
        ranks.average_gradients_([parameter, nn.Parameter(torch.ones(2))])
        assert parameter.grad.tolist() == [1, 1]


def test_a_seed_is_drawn_only_where_none_is_given() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert ranks.shared_seed(7) == 7
    assert torch.equal(torch.get_rng_state(), before)
    drawn = ranks.shared_seed(None)
    assert 0 <= drawn < 2**31
    assert drawn != ranks.shared_seed(None)


def groups(rank: int) -> dict[str, Any]:
    assert ranks.local_rank() == ranks.rank() == rank
    assert ranks.is_main() == (rank == 0)
    assert ranks.world_size() == 2
    with ranks.started():  # inside another's
        pass
    assert distributed.is_initialized()
    ranks.barrier()
    number = torch.tensor([1.0, 10.0]) * (rank + 1)
    answers: dict[str, Any] = {"sum": ranks.sum_over_ranks(number).tolist()}
    answers["kept"] = number.tolist() == [rank + 1, 10 * (rank + 1)]
    answers["all"] = ranks.from_all_ranks(f"rank {rank}")
    return answers


def seeds(rank: int) -> dict[str, Any]:
    torch.manual_seed(rank)
    before = torch.get_rng_state()
    answers: dict[str, Any] = {"given": ranks.shared_seed(3), "drawn": ranks.shared_seed(None)}
    torch.manual_seed(rank)
    torch.randint(2**31, ())
    answers["moved"] = not torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(0)
    answers["of rank 0"] = int(torch.randint(2**31, ()))
    return answers


def gradients(rank: int) -> dict[str, Any]:
    shapes = [(2, 3), (), (4,), (3,), (2,)]
    types = [torch.float32, torch.float32, torch.float64, torch.float32, torch.float32]
    parameters = [nn.Parameter(torch.zeros(s, dtype=t)) for s, t in zip(shapes, types, strict=True)]
    for number, parameter in enumerate(parameters[:3], 1):
        parameter.grad = torch.full_like(parameter, number * (rank + 1))
    parameters[0].grad = torch.arange(6.0).view(3, 2).t() * (rank + 1)  # of other strides
    if rank == 1:
        parameters[3].grad = torch.full((3,), 8.0)
    ranks.average_gradients_(parameters)
    return {"mean": [None if p.grad is None else p.grad.tolist() for p in parameters]}


EXAMPLES = TensorDataset(torch.arange(11.0), torch.arange(11))


def shares(rank: int) -> dict[str, Any]:
    def seen(loader: Any, epoch: int = 0, skip: int = 0) -> list[list[int]]:
        training = TrainingLoader(loader, split=None, seed=5)
        return [labels.tolist() for _, labels in training.epoch(epoch, skip)]

    shuffled = DataLoader(EXAMPLES, batch_size=2, shuffle=True)
    answers: dict[str, Any] = {
        "shuffled": [seen(shuffled, 0), seen(shuffled, 1)],
        "again": seen(shuffled, 1),
        "skipped": seen(shuffled, 1, skip=1),
        "in order": seen(DataLoader(EXAMPLES, batch_size=2, num_workers=1)),
        "dropped": seen(DataLoader(EXAMPLES, batch_size=2, drop_last=True)),
        "own": seen(DataLoader(EXAMPLES, 3, sampler=DistributedSampler(EXAMPLES, shuffle=False))),
    }
    validation = {
        "in order": DataLoader(EXAMPLES, batch_size=2),
        "shuffled": DataLoader(EXAMPLES, batch_size=4, shuffle=True),
        "own": DataLoader(EXAMPLES, 3, sampler=DistributedSampler(EXAMPLES)),
        "one": DataLoader(TensorDataset(torch.ones(1), torch.zeros(1)), batch_size=2),
    }
    answers["validation"] = {
        name: [labels.tolist() for _, labels in ValidationLoader(loader, split=None)]
        for name, loader in validation.items()
    }
    weighted = WeightedRandomSampler([1.0] * 11, 11)
    for wrapped in (TrainingLoader, ValidationLoader):
        for loader in (
            DataLoader(EXAMPLES, sampler=weighted),
            DataLoader(EXAMPLES, batch_sampler=[[0, 1], [2]]),
            DataLoader(EXAMPLES, sampler=RandomSampler(EXAMPLES, replacement=True)),
            DataLoader(EXAMPLES, sampler=RandomSampler(EXAMPLES, num_samples=4)),
        ):
            with pytest.raises(BatchError, match="cannot be shared out among 2 ranks"):
                wrapped(loader, split=None, **({"seed": 5} if wrapped is TrainingLoader else {}))
    with pytest.warns(ImbalanceLensWarning, match="each of the 2 ranks goes through all of it"):
        answers["list"] = seen([(torch.ones(1), torch.zeros(1))])
    return answers


def as_rank(rank: int, parts: list[Callable[[int], dict[str, Any]]], folder: Path) -> None:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        given = {"WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "localhost"}
        given["MASTER_PORT"] = (folder / "port").read_text()
        for name, value in given.items():
            patch.setenv(name, str(value))
        with ranks.started():
            answers = {part.__name__: part(rank) for part in parts}
        assert not distributed.is_initialized()
    torch.save(answers, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    store = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    port = store.port
    del store
    (folder / "port").write_text(str(port))
    parts = [groups, seeds, gradients, shares]
    multiprocessing.start_processes(as_rank, args=(parts, folder), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_ranks_of_torchrun_sum_and_gather(answers) -> None:
    for answer in answers:
        assert answer["groups"] == {"sum": [3, 30], "kept": True, "all": ["rank 0", "rank 1"]}


def test_all_ranks_get_the_seed_of_the_first(answers) -> None:
    first, second = (answer["seeds"] for answer in answers)
    assert first == second
    assert first["given"] == 3
    assert first["drawn"] == first["of rank 0"]
    assert first["moved"]


def test_gradients_are_averaged_and_missing_ones_stay_missing(answers) -> None:
    first, second = (answer["gradients"]["mean"] for answer in answers)
    assert first == second
    assert first == [[[0, 3, 6], [1.5, 4.5, 7.5]], 3, [4.5] * 4, [4] * 3, None]


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def test_training_data_are_shuffled_anew_and_shared_out(answers) -> None:
    first, second = (answer["shares"] for answer in answers)
    for one, other in zip(first["shuffled"], second["shuffled"], strict=True):
        labels = flat(one + other)
        assert len(one) == len(other) == 3
        assert len(labels) == 12
        assert set(labels) == set(range(11))
    assert first["shuffled"][0] != first["shuffled"][1] == first["again"]
    assert first["skipped"] == first["again"][1:]


def test_order_and_leftovers_are_as_the_loader_has_them(answers) -> None:
    first, second = (answer["shares"] for answer in answers)
    assert first["in order"] == [[0, 2], [4, 6], [8, 10]]
    assert second["in order"] == [[1, 3], [5, 7], [9, 0]]
    assert (first["dropped"], second["dropped"]) == ([[0, 2], [4, 6]], [[1, 3], [5, 7]])
    assert first["own"] == [[0, 2, 4], [6, 8, 10]]
    assert first["list"] == second["list"] == [[0]]


def test_each_validation_example_is_seen_once(answers) -> None:
    first, second = (answer["shares"]["validation"] for answer in answers)
    assert (first["in order"], second["in order"]) == (
        [[0, 2], [4, 6], [8, 10]],
        [[1, 3], [5, 7], [9]],
    )
    for name in ("shuffled", "own"):
        assert sorted(flat(first[name] + second[name])) == list(range(11))
    assert (first["one"], second["one"]) == ([[0]], [])
