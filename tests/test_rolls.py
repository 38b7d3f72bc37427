"""Epochs and ranks of a training: nothing is lost, and nothing is counted twice."""

from pathlib import Path

import pytest
import torch
import xarray as xr
from torch import distributed, multiprocessing, nn

from imbalance_lens import Lens, every
from imbalance_lens.probes.zero_out import ZeroOut
from tests.watched import WHO, batches, fresh

PROBES = ("discrepancy", "logit_norm", "zero_out")


def test_a_probe_without_epochs_gets_them_when_an_epoch_is_closed() -> None:
    model = fresh()
    with Lens(model, WHO, [ZeroOut(resamples=20), "logit_norm"]) as session:
        for audio, visual, labels in batches(2):
            model(audio, visual)
            session.step(labels)
            session.epoch()
        answer = session.dataset("zero_out")
        assert answer.sizes["epoch"] == 2
        model(*batches()[0][:2])
        session.step(batches()[0][2])
    assert session.dataset("zero_out").accuracy.dims == ("epoch", "coalition")
    assert session.dataset("zero_out").sizes["epoch"] == 3
    assert session.dataset("logit_norm").sizes["epoch"] == 3


def test_training_and_held_out_examples_are_compared_over_epochs() -> None:
    model = fresh()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fixed, held_out = batches()[:3], batches()[3:]
    with Lens(model, WHO, ["ogr", "zero_out"], schedule=every(100)) as session:
        for _ in range(3):
            session.look(fixed, training=True)
            session.look(held_out)
            session.epoch()
            for audio, visual, labels in fixed:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(audio, visual), labels).backward()
                session.step(labels)
                optimizer.step()
    answer = session.dataset("ogr")
    assert dict(answer.sizes) == {"epoch": 3, "part": 2, "head": 3}
    loss = answer.loss.sel(head="joint")
    gap = loss.sel(part="held_out") - loss.sel(part="train")
    wanted = (gap[2] - gap[1]) / (loss.sel(part="held_out")[1] - loss.sel(part="held_out")[2])
    assert answer.ogr.sel(epoch=2, head="joint").item() == pytest.approx(abs(wanted.item()))
    assert session.dataset("zero_out").attrs["examples"] == 8, "fixed parts are not for it"


class Plain(nn.Module):
    """Late fusion in which no example sees another."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.visual = nn.Linear(4, 5), nn.Linear(6, 5)
        self.head = nn.Linear(10, 3)

    def forward(self, audio: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1))


def watched_training(rank: int, ranks: int, folder: Path) -> None:
    """Train on this rank's share of every batch and save what all ranks have seen."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(Plain())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Lens(model, WHO, PROBES) as session:
        for _ in range(2):
            for batch in batches(3):
                audio, visual, labels = (part.chunk(ranks)[rank] for part in batch)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(audio, visual), labels).backward()
                session.step(labels)
                optimizer.step()
            session.epoch()
        for name in PROBES:
            session.dataset(name).to_netcdf(folder / f"{name}-{ranks}-{rank}.nc")


def as_rank(rank: int, ranks: int, folder: Path) -> None:
    store = distributed.FileStore(str(folder / f"store-{ranks}"), ranks)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    try:
        watched_training(rank, ranks, folder)
    finally:
        distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_see_together_what_one_sees(tmp_path: Path) -> None:
    for ranks in (1, 2):
        multiprocessing.start_processes(
            as_rank, args=(ranks, tmp_path), nprocs=ranks, start_method="spawn"
        )
    for name in PROBES:
        alone, first, second = (
            xr.load_dataset(tmp_path / f"{name}-{run}.nc") for run in ("1-0", "2-0", "2-1")
        )
        xr.testing.assert_identical(first, second)
        numbers = [n for n in alone.data_vars if not str(n).endswith("_interval")]
        xr.testing.assert_allclose(alone[numbers], first[numbers], rtol=1e-5)
