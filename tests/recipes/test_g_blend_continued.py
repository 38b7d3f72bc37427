"""G-Blend: estimates that are interrupted, their schedulers, and what is held out."""

import copy
import functools
import itertools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

from imbalance_lens.errors import BatchError, CheckpointError, SettingError, TrainingError
from imbalance_lens.testing import (
    PlantedData,
    planted,
)
from recipes._g_blend.estimation import rebound
from recipes._g_blend.parts import held_out, share_of

from .blends import SGD, estimated, noisy


def test_an_interrupted_estimate_goes_on_with_its_first_unfinished_head(tmp_path):
    model, loader = noisy()
    whole = estimated(model, loader, epochs=2)
    calls = itertools.count()

    def until(last):
        def loss(logits, labels):
            if next(calls) == last:
                raise KeyboardInterrupt
            return nn.functional.cross_entropy(logits, labels)

        return loss

    batches = 6  # of 86 examples
    with pytest.raises(KeyboardInterrupt):
        estimated(model, loader, epochs=2, folder=tmp_path, loss=until(2 * batches + 3))
    calls = itertools.count()
    resumed = estimated(model, loader, epochs=2, folder=tmp_path, loss=until(-1))
    assert next(calls) == 2 * 2 * batches  # the visual and the joint head
    assert resumed.dataset.identical(whole.dataset)
    calls = itertools.count()
    estimated(model, loader, epochs=2, folder=tmp_path, loss=until(-1))
    assert next(calls) == 0
    with torch.no_grad():
        model.head.bias.add_(1)
    estimated(model, loader, epochs=2, folder=tmp_path, loss=until(-1))
    assert next(calls) > 2 * batches  # of another state, so from the start
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    with pytest.raises(CheckpointError, match="Remove it"):
        estimated(model, loader, epochs=2, folder=tmp_path)


def test_schedulers_go_on_in_the_copies():
    model, loader = planted("audio", examples=64)
    only_at_first = functools.partial(
        torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda epoch: float(epoch == 0)
    )
    stopped = estimated(model, loader, epochs=3, scheduler=only_at_first)
    one = estimated(model, loader, epochs=1)
    more = estimated(model, loader, epochs=3)
    assert stopped.weights == one.weights
    assert more.weights != one.weights


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=50),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [
                torch.optim.lr_scheduler.ConstantLR(o),
                torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
            ],
            milestones=[1],
        ),
        lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o),
    ],
)
@pytest.mark.parametrize("optimizer", [SGD, torch.optim.AdamW])
def test_copies_of_schedulers_leave_the_training_s_own_alone(make, optimizer):
    model, loader = planted("audio", examples=64)
    made = optimizer(model.parameters(), lr=0.1)
    scheduler = make(made)
    before = copy.deepcopy((made.state_dict(), scheduler.state_dict()))
    twin_model = copy.deepcopy(model)
    twin, following = rebound(made, scheduler, (model, twin_model))
    assert [p for g in twin.param_groups for p in g["params"]] == list(twin_model.parameters())
    assert following.optimizer is twin
    estimated(model, loader, epochs=2, optimizer=made)
    assert repr((made.state_dict(), scheduler.state_dict())) == repr(before)


def test_held_out_examples_are_others_and_always_the_same():
    data = list(range(50))
    loader = DataLoader(data, 8, shuffle=True)
    rest, held = held_out(loader, 0.1, 0)
    kept, left = (torch.cat(list(part)).tolist() for part in (rest, held))
    assert sorted(kept + left) == data
    assert len(left) == 5
    assert torch.cat(list(held_out(loader, 0.1, 0)[1])).tolist() == left
    assert torch.cat(list(held_out(loader, 0.1, 1)[1])).tolist() != left
    quarter = torch.cat(list(share_of(rest, 0.25, 0))).tolist()
    assert len(quarter) == 11
    assert set(quarter) <= set(kept)


class Endless(IterableDataset):
    def __iter__(self):
        yield from PlantedData({"audio": 1.0, "visual": 1.0}, examples=32)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda data: list(DataLoader(data, 8)), "a list"),
        (lambda _: DataLoader(Endless(), 8), "a DataLoader of a Endless without numbers"),
        (
            lambda data: DataLoader(data, 8, sampler=WeightedRandomSampler([1.0] * 32, 32)),
            "a WeightedRandomSampler that decides itself",
        ),
    ],
)
def test_only_numbered_examples_can_be_held_out(make, what):
    model, plain = planted("audio", examples=32)
    with pytest.raises(BatchError, match=f"{what}.*val="):
        estimated(model, make(plain.dataset), epochs=1)
    found = estimated(model, make(plain.dataset), plain, epochs=1)
    assert sum(found.weights.values()) == pytest.approx(1)


def test_estimates_refuse_what_they_cannot_use():
    model, loader = planted("audio", examples=32)
    for wrong in ({"measure": "f1"}, {"solution": "best"}, {"floor": 0}, {"fraction": 0}):
        with pytest.raises(SettingError):
            estimated(model, loader, epochs=1, **wrong)
    with pytest.raises(SettingError, match="epochs must be a whole number"):
        estimated(model, loader, epochs=0)
    with pytest.raises(BatchError, match="held out"):
        estimated(
            model, DataLoader(PlantedData({"audio": 1.0, "visual": 1.0}, examples=1)), epochs=1
        )
    with pytest.raises(TrainingError, match=r"'audio' trained alone .* is no number"):
        estimated(model, loader, epochs=2, optimizer=functools.partial(torch.optim.SGD, lr=1e30))

    class Several(Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, index):
            return {"audio": torch.zeros(4), "visual": torch.zeros(4)}, torch.zeros(4)

    with pytest.raises(BatchError, match="class indices"):
        estimated(model, DataLoader(Several(), 8), epochs=1)
    model.held = (i for i in range(3))
    with pytest.raises(SettingError, match="PlantedModel cannot be copied"):
        estimated(model, loader, epochs=1)
