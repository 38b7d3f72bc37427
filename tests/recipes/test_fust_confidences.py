"""FusT knows how sure each encoder alone is of every example, whatever gives the examples."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, WeightedRandomSampler

import recipes
from imbalance_lens import schema
from imbalance_lens.errors import (
    BatchError,
    NotApplicableError,
    NotAttachedError,
    NotIntendedUseWarning,
    SettingError,
)
from recipes.fust import FusT, mask_ratio

from .trainings import (
    Listening,
    data_of,
    loader_of,
    model_of,
    same,
    sgd,
    weights_of,
)
from .two_stages import (
    NAMES,
    Watching,
    Wide,
    confidences_by_hand,
    fitted,
    fust,
    given_confidences,
    wide_data,
)


class Leaving(torch.utils.data.Sampler):
    """Batches of uneven size that leave out most examples, in an order of their own."""

    def __iter__(self):
        order = torch.randperm(24).tolist()
        yield from (order[:3], order[3:8], order[8:10])

    def __len__(self) -> int:
        return 3


LOADERS: dict[str, Any] = {
    "shuffled": lambda: loader_of(8, 24, shuffle=True),
    "the last left out": lambda: loader_of(7, 24, shuffle=True, drop_last=True),
    "weighted": lambda: loader_of(8, 24, sampler=WeightedRandomSampler([1.0, 3.0] * 12, 24)),
    "batches": lambda: DataLoader(data_of(24), batch_sampler=Leaving()),
    "workers": lambda: loader_of(8, 24, shuffle=True, num_workers=2, persistent_workers=True),
    "a generator": lambda: loader_of(8, 24, shuffle=True, generator=torch.Generator()),
    "a list": lambda: list(loader_of(8, 24)),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_every_example_has_its_mean_confidence_whatever_the_sampler_does(kind: str):
    recipe, watching = fust(), Watching()
    fitted([recipe, watching], loader=LOADERS[kind]())
    found = recipe.measured()
    schema.validate(found)
    epochs = torch.stack([confidences_by_hand(kept) for kept in watching.kept[:2]])
    assert found["example"].values.tolist() == list(range(24))
    assert torch.allclose(torch.tensor(found["confidence"].values), epochs.mean(0), atol=1e-6)
    spread = epochs.std(0, correction=0)
    assert torch.allclose(torch.tensor(found["variability"].values), spread, atol=1e-6)
    assert (found["epochs"] == 2).all()


def test_confidences_of_training_passes_need_no_pass_of_their_own(monkeypatch):
    told: list[tuple[list[int], Tensor]] = []

    class Reading(Listening):
        def on_loss(self, run: recipes.Run, seen: recipes.Seen, loss: Tensor) -> Tensor:
            if seen.modality_logits and run.epoch < 2 and run.numbers is not None:
                probability = seen.modality_logits["audio"].detach().double().softmax(1)
                own = probability[range(len(seen.labels)), seen.labels]
                told.append((run.numbers.tolist(), own))
            return loss

    monkeypatch.setattr("recipes._fust.measuring.own_confidences", None)
    recipe = fust(online=True)
    fitted([recipe, Reading()])
    by_number: dict[int, list[float]] = {}
    for numbers, own in told:
        for number, value in zip(numbers, own.tolist(), strict=True):
            by_number.setdefault(number, []).append(value)
    found = recipe.measured()["confidence"].sel(modality="audio").values
    assert sorted(by_number) == list(range(24))
    for number, values in by_number.items():
        assert found[number] == pytest.approx(sum(values) / 2, abs=1e-6)


def test_the_history_tells_confidences_and_ratios():
    recipe = fust({"audio": 1, "visual": 2})
    with pytest.warns(NotIntendedUseWarning, match="single epoch says little"):
        history = fitted(recipe, epochs=4).history
    sure = recipe.measured()["confidence"]
    assert history["confidence"].isnull().values.tolist() == [
        [False, False],
        [True, False],
        [True, True],
        [True, True],
    ]
    first = float(history["confidence"].sel(modality="audio")[0])
    assert first == pytest.approx(float(sure.sel(modality="audio").mean()))
    ratios = mask_ratio({name: torch.tensor(sure.sel(modality=name).values) for name in NAMES})
    for name, ratio in ratios.items():
        told = history["mask_ratio"].sel(modality=name).values
        assert told[2] == told[3] == pytest.approx(float(ratio.mean()))


def test_confidences_are_kept_in_a_file_and_used_again(tmp_path: Path) -> None:
    first = fust()
    fitted(first)
    sure = first.measured()
    sure.to_netcdf(tmp_path / "sure.nc", engine="h5netcdf")
    ends = []
    for source in (sure, tmp_path / "sure.nc", sure.isel(example=slice(None, None, -1))):
        again = fust(confidences=source)
        fit = fitted(again)
        ends.append(weights_of(fit.model))
        assert "confidence" not in fit.history
        assert (again.measured()["confidence"] == sure["confidence"]).all()
    assert same(ends[0], ends[1])
    assert same(ends[0], ends[2])
    assert same(ends[0], weights_of(fitted(fust()).model))


def test_examples_without_a_confidence_are_never_masked():
    sure = given_confidences().sel(example=range(6))
    watching = Watching()
    loader = DataLoader(wide_data(), 4)
    fitted([fust(0, confidences=sure), watching], model_of(Wide), loader, 1)
    seen = torch.cat([inputs["audio"] for inputs in watching.inputs])
    assert (seen[:6] == 0).any()
    assert not (seen[6:] == 0).any()


def test_confidences_are_measured_without_augmentation_where_that_is_given():
    class Noisy(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 24

        def __getitem__(self, index: int) -> tuple[Tensor, ...]:
            audio, visual, label = data_of()[index]
            return audio + torch.randn(5), visual + torch.randn(4), label

    recipe, watching = fust(unaugmented=data_of()), Watching()
    fitted([recipe, watching], loader=DataLoader(Noisy(), 8, shuffle=True))
    epochs = torch.stack([confidences_by_hand(kept) for kept in watching.kept[:2]])
    found = torch.tensor(recipe.measured()["confidence"].values)
    assert torch.allclose(found, epochs.mean(0), atol=1e-6)
    other = fust(unaugmented=Subset(data_of(), range(5)))
    with pytest.raises(BatchError, match="has 5 examples, and the one that is trained on has 24"):
        fitted(other)


class Stream(IterableDataset):
    """Examples that come with names, in no order."""

    def __iter__(self):
        for number in torch.randperm(24).tolist():
            yield (*data_of()[number], 1000 + 2 * number)


def test_a_split_may_give_the_numbers_of_a_stream():
    recipe, watching = fust(), Watching()
    loader = DataLoader(Stream(), 8)
    fitted([recipe, watching], loader=loader, split=lambda b: ((b[0], b[1]), b[2], b[3]))
    found = recipe.measured()
    assert found["example"].values.tolist() == [1000 + 2 * number for number in range(24)]
    epochs = torch.stack([confidences_by_hand(kept) for kept in watching.kept[:2]])
    assert torch.allclose(torch.tensor(found["confidence"].values), epochs.mean(0), atol=1e-6)


def test_examples_without_numbers_are_refused():
    with pytest.raises(BatchError, match=r"Stream have no numbers .* split=function"):
        fitted(fust(), loader=DataLoader(Stream(), 8))
    with pytest.raises(BatchError, match=r"have no numbers"):
        fitted(fust(), loader=iter([]))


def test_a_loop_of_one_s_own_gives_the_numbers():
    model, loader = model_of(Wide), DataLoader(wide_data(), 4)
    batch = next(iter(loader))
    with recipes.attach(fust(online=True), model, tuple(batch[:2]), seed=0) as remedy:
        optimizer = sgd([*model.parameters(), *remedy.parameters()])
        for _ in range(3):
            model.train()
            for place, (audio, visual, labels) in enumerate(loader):
                numbers = torch.arange(4 * place, 4 * place + 4)
                inputs, labels = remedy.batch((audio, visual), labels, numbers)
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(*inputs), labels)
                remedy.loss(loss).backward()
                remedy.gradients(optimizer)
                optimizer.step()
            remedy.close_epoch()
        history = remedy.history.dataset({})
        with pytest.raises(NotApplicableError, match="came without the numbers"):
            remedy.batch(tuple(batch[:2]), batch[2])
    assert history["confidence"].notnull().all("modality").values.tolist() == [True, True, False]
    with pytest.raises(NotApplicableError, match="only the bundled loop can"):
        recipes.attach(fust(), model, tuple(batch[:2]))
    with pytest.raises(SettingError, match="known in the bundled loop only"):
        recipes.attach(FusT(masking="none"), model, tuple(batch[:2]))


def test_nothing_is_known_before_a_training():
    with pytest.raises(NotAttachedError, match="No confidences are known"):
        fust().measured()
