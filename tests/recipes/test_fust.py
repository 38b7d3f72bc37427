"""FusT in trainings: two stages, confidences by example, inputs masked in training only."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, WeightedRandomSampler

import recipes
from imbalance_lens import schema
from imbalance_lens.errors import (
    BatchError,
    NoEffectWarning,
    NotApplicableError,
    NotAttachedError,
    NotIntendedUseWarning,
    SettingError,
)
from recipes.abri import Abri
from recipes.fust import FusT, mask_ratio
from recipes.unimodal import Unimodal

from .resumed import equal
from .trainings import (
    CLASSES,
    AudioVisual,
    Fused,
    Listening,
    data_of,
    loader_of,
    model_of,
    same,
    sgd,
    weights_of,
)

NAMES = ("audio", "visual")


def fitted(
    recipe: Any,
    model: nn.Module | None = None,
    loader: Any = None,
    epochs: int = 3,
    **settings: Any,
) -> recipes.Fit:
    given: dict[str, Any] = {"optimizer": sgd, "seed": 3, "device": "cpu", **settings}
    model = model_of(AudioVisual, dropout=0.2, norm=True) if model is None else model
    loader = loader_of(8, 24, shuffle=True) if loader is None else loader
    return recipes.apply(recipe, model, loader, epochs=epochs, **given)


def fust(epochs: Any = 2, **settings: Any) -> FusT:
    return FusT(unimodal_epochs=epochs, **settings)


class Watching(Listening):
    """Keeps the weights and the heads as they are at the end of each epoch, and the flags."""

    def on_fit_start(self, run: recipes.Run) -> None:
        self.kept: list[dict[str, Tensor]] = []
        self.training: list[list[str]] = []
        self.inputs: list[dict[str, Tensor]] = []

    def on_batch(self, run: recipes.Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        self.inputs.append(dict(zip(NAMES, inputs, strict=True)))
        return inputs, labels

    def on_epoch_end(self, run: recipes.Run) -> None:
        heads = {} if run.heads is None else weights_of(run.heads)
        self.kept.append(weights_of(run.model) | {f"own {n}": t for n, t in heads.items()})
        self.training.append([p for p, m in run.model.named_modules() if not m.training])


def watched(recipe: recipes.Recipe, **settings: Any) -> Watching:
    watching = Watching()
    fitted([recipe, watching], **settings)
    return watching


def test_the_first_stage_is_unimodal_training_bit_by_bit():
    alone = watched(Unimodal(), epochs=2)
    first = watched(fust(masking="none"))
    measuring = watched(fust())
    for epoch in range(2):
        assert same(alone.kept[epoch], first.kept[epoch])
        assert same(alone.kept[epoch], measuring.kept[epoch])
    assert not same(first.kept[1], first.kept[2])


def test_an_encoder_whose_epochs_are_over_stands_still_until_the_second_stage():
    seen = watched(fust({"audio": 1, "visual": 3}, masking="none"), epochs=4)
    audio = [{n: t for n, t in kept.items() if n.startswith("audio")} for kept in seen.kept]
    assert same(audio[0], audio[1])  # statistics of its BatchNorm included
    assert same(audio[0], audio[2])
    assert not same(audio[2], audio[3])
    assert any("audio.1" in off for off in seen.training[1])
    assert not seen.training[0]
    assert not seen.training[3]
    heads = [{n: t for n, t in kept.items() if n.startswith("own of.0")} for kept in seen.kept]
    assert same(heads[0], heads[3])
    visual = [kept["visual.0.weight"] for kept in seen.kept]
    assert not any(torch.equal(*pair) for pair in itertools.pairwise(visual))


def test_the_head_is_trained_in_the_second_stage_only_and_anew():
    start = model_of(AudioVisual, dropout=0.2, norm=True).head.weight.detach().clone()
    seen = watched(fust(masking="none"))
    assert torch.equal(seen.kept[1]["head.weight"], start)
    kept = watched(fust(masking="none", new_head=False), optimizer=lambda p: sgd(p, lr=1e-9))
    new = watched(fust(masking="none"), optimizer=lambda p: sgd(p, lr=1e-9))
    assert torch.allclose(kept.kept[2]["head.weight"], start, atol=1e-6)
    assert not torch.allclose(new.kept[2]["head.weight"], start, atol=1e-2)


def test_the_second_stage_begins_without_the_optimizer_s_memory():
    """With a momentum of 1, a memory of the first stage would move encoders for good."""

    class Frozen(AudioVisual):
        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return super().forward(audio, visual) * 0

    seen = watched(
        fust(masking="none", new_head=False),
        model=model_of(Frozen),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=1.0),
    )
    first, last = seen.kept[1], seen.kept[2]
    assert torch.equal(first["audio.0.weight"], last["audio.0.weight"])


def confidences_by_hand(kept: dict[str, Tensor]) -> Tensor:
    """(modalities, examples) true-class probability, from weights, in eval mode."""
    data, rows = data_of(), []
    for place, name in enumerate(NAMES):
        weight = {n: kept[f"{name}.{n}"].double() for n in ("0.weight", "0.bias")}
        norm = {
            n: kept[f"{name}.1.{n}"].double()
            for n in ("weight", "bias", "running_mean", "running_var")
        }
        hidden = data.tensors[place].double() @ weight["0.weight"].T + weight["0.bias"]
        hidden = (hidden - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt()
        hidden = (hidden * norm["weight"] + norm["bias"]).clamp_min(0)
        head = [kept[f"own of.{place}.1.{n}"].double() for n in ("weight", "bias")]
        logits = hidden @ head[0].T + head[1]
        rows.append(logits.softmax(1)[range(24), data.tensors[-1]])
    return torch.stack(rows)


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

    monkeypatch.setattr("recipes._measuring.own_confidences", None)
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


class Wide(nn.Module):
    """Encoders of many inputs, which note what they get in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.audio, self.visual = nn.Linear(40, 8), nn.Linear(40, 8)
        self.head = nn.Linear(16, CLASSES)
        self.evaluated: list[Tensor] = []

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        if not self.training:
            self.evaluated += [audio, visual]
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1))


def wide_data(examples: int = 12) -> torch.utils.data.TensorDataset:
    torch.manual_seed(0)
    inputs = [torch.rand(examples, 40) + 1 for _ in NAMES]
    return torch.utils.data.TensorDataset(*inputs, torch.arange(examples) % CLASSES)


def given_confidences(examples: int = 12) -> xr.Dataset:
    sure = torch.rand(2, examples, generator=torch.Generator().manual_seed(1)).double()
    return xr.Dataset(
        {"confidence": (("modality", "example"), sure.numpy())},
        {"modality": list(NAMES), "example": range(examples)},
    )


def test_each_example_is_masked_by_its_own_ratio_in_training_only():
    data, sure = wide_data(), given_confidences()
    recipe = fust(0, confidences=sure, rho={"audio": 1.0, "visual": 0.6})
    watching, model = Watching(), model_of(Wide)
    before = [tensor.clone() for tensor in data.tensors]
    loader = DataLoader(data, 4, shuffle=True)
    fitted([recipe, watching], model, loader, 2, val_loader=DataLoader(data, 12))
    ratios = mask_ratio(
        {name: torch.tensor(sure["confidence"].sel(modality=name).values) for name in NAMES},
        {"audio": 1.0, "visual": 0.6},
    )
    wanted = {name: (ratio * 40).floor().long() for name, ratio in ratios.items()}
    assert all(counts.any() for counts in wanted.values())
    for place, name in enumerate(NAMES):
        seen = torch.cat([inputs[name] for inputs in watching.inputs])
        for row in seen:
            kept = row != 0
            (number,) = (
                i for i in range(12) if torch.equal(data.tensors[place][i][kept], row[kept])
            )
            assert int((~kept).sum()) == wanted[name][number]
        assert torch.equal(data.tensors[place], before[place])
    assert all(tensor.all() for tensor in model.evaluated)  # no 0 in any evaluation


def test_with_the_mean_all_examples_lose_as_much():
    sure = given_confidences()
    recipe = fust(0, confidences=sure, masking="modality_mean")
    watching = Watching()
    fitted([recipe, watching], model_of(Wide), DataLoader(wide_data(), 4), 1)
    values = {name: torch.tensor(sure["confidence"].sel(modality=name).values) for name in NAMES}
    for name, ratio in mask_ratio(values).items():
        count = int((ratio.mean() * 40).floor())
        assert count > 0
        for inputs in watching.inputs:
            assert ((inputs[name] == 0).sum(1) == count).all()


def test_without_shares_it_is_fust_without_masks_bit_by_bit():
    plain = fitted(fust(masking="none"))
    for rho in (0.0, {"audio": 0.0, "visual": 0.0}):
        none = fitted(fust(rho=rho))
        assert same(weights_of(none.model), weights_of(plain.model))
    assert not same(weights_of(fitted(fust()).model), weights_of(plain.model))


def test_three_modalities_are_trained_and_masked():
    names = ("audio", "visual", "text")
    loader = DataLoader(data_of(24, names), 8, shuffle=True)
    recipe = fust({"audio": 2, "visual": 2, "text": 3}, threshold=0.0)
    fit = fitted(
        recipe,
        model_of(Fused, names=names),
        loader,
        epochs=4,
        split=lambda batch: (dict(zip(names, batch[:3], strict=True)), batch[3]),
    )
    assert recipe.measured()["epochs"].isel(example=0).values.tolist() == [2, 2, 3]
    assert (fit.history["mask_ratio"][3] > 0).any()


def test_paces_are_learning_rates_of_the_second_stage():
    """An audio encoder of half the pace is one of half the learning rate, from its beginning on."""
    model = model_of(Wide)
    loader = DataLoader(wide_data(), 12)
    slow = fitted(
        fust(0, masking="none", learning_rates={"audio": 0.5}, new_head=False), model, loader, 1
    )
    twin = model_of(Wide)
    groups = [
        {"params": twin.get_submodule(part).parameters(), "lr": 0.05 if part == "audio" else 0.1}
        for part in ("audio", "visual", "head")
    ]
    fitted("none", twin, loader, 1, optimizer=torch.optim.SGD(groups, momentum=0.9))
    for name, weight in slow.model.named_parameters():
        assert torch.allclose(weight, twin.get_parameter(name), atol=1e-6), name
    still = watched(fust(masking="none", learning_rates={"audio": 0.0}))
    assert torch.equal(still.kept[1]["audio.0.weight"], still.kept[2]["audio.0.weight"])


def end_of(recipe: FusT, folder: Path | None, stop: int | None = None) -> dict[str, Any]:
    """Everything a training ends with; it may break in the middle of a step."""
    steps = 0

    class Breaking(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            nonlocal steps
            steps += 1
            if steps == stop:
                raise InterruptedError
            return super().step(closure)

    fit = fitted(
        recipe,
        epochs=4,
        optimizer=lambda p: Breaking(p, lr=0.1, momentum=0.9),
        checkpoint=folder,
        checkpoint_every=1,
    )
    history = fit.history.drop_vars(["seconds", "throughput"])
    found = recipe.measured()
    numbers = {f"h {n}": torch.tensor(v.values) for n, v in history.data_vars.items()}
    numbers |= {f"m {n}": torch.tensor(v.values) for n, v in found.data_vars.items()}
    return {"model": fit.model.state_dict(), "numbers": numbers}


@pytest.mark.parametrize("online", [False, True])
def test_a_training_that_breaks_in_any_stage_resumes_to_the_same_end(
    tmp_path: Path, online: bool
) -> None:
    settings: dict[str, Any] = {"online": online, "epochs": {"audio": 2, "visual": 3}}
    whole = end_of(fust(**settings), None)
    for stop in range(2, 13, 1):
        folder = tmp_path / f"{stop}"
        with pytest.raises(InterruptedError):
            end_of(fust(**settings), folder, stop)
        assert equal(end_of(fust(**settings), folder), whole), f"interrupted at step {stop}"


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


def test_a_training_in_which_nothing_is_masked_is_told_of():
    with pytest.warns(NoEffectWarning, match="no input is masked"):
        fit = fitted(fust(threshold=0.9999))
    assert (fit.history["mask_ratio"][2] == 0).all()


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


def test_it_goes_together_with_abri():
    fit = fitted([Abri(), fust()])
    assert {"confidence", "mask_ratio", "step_alpha"} <= set(fit.history.data_vars)


def test_inputs_of_whole_numbers_cannot_be_masked():
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.audio, self.text = nn.Linear(5, 8), nn.EmbeddingBag(9, 8)
            self.head = nn.Linear(16, CLASSES)

        def forward(self, audio: Tensor, text: Tensor) -> Tensor:
            return self.head(torch.cat([self.audio(audio), self.text(text)], 1))

    audio, _, labels = data_of().tensors
    torch.manual_seed(0)
    loader = DataLoader(torch.utils.data.TensorDataset(audio, torch.randint(9, (24, 6)), labels), 8)
    anatomy = {"audio": "audio", "text": "text"}
    with pytest.raises(NotApplicableError, match=r"inputs of 'text' \(int64 \(8, 6\)\) hold no"):
        fitted(fust(), model_of(Words), loader, anatomy=anatomy)
    heard = fitted(fust(rho={"audio": 1.0, "text": 0.0}), model_of(Words), loader, anatomy=anatomy)
    assert float(heard.history["mask_ratio"].sel(modality="text")[2]) == 0


def test_inputs_of_unknown_modalities_are_asked_for():
    anatomy = {"sound": "audio", "sight": "visual"}
    with pytest.raises(NotApplicableError, match="not known which inputs feed 'sound'"):
        fitted(fust(), anatomy=anatomy)


def test_a_head_that_is_not_known_stays():
    class Summed(AudioVisual):
        def __init__(self) -> None:
            super().__init__()
            self.head = None
            self.audio[0], self.visual[0] = nn.Linear(5, CLASSES), nn.Linear(4, CLASSES)

        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return self.audio(audio) + self.visual(visual)

    with pytest.warns(NoEffectWarning, match="No head that can be initialized anew"):
        fitted(fust(masking="none"), model_of(Summed))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unimodal_epochs": 3}, "epochs=3 leaves none for the second stage"),
        ({"unimodal_epochs": {"audio": 1}}, "unimodal_epochs must have the modalities"),
        ({"patches": {"smell": (1,)}}, "patches names 'smell'"),
        ({"learning_rates": {"smell": 1}}, "learning_rates names 'smell'"),
        ({"patches": {"audio": (9,)}}, "do not fit an input of shape"),
        ({"confidences": xr.Dataset()}, "must have a variable 'confidence'"),
        (
            {"confidences": given_confidences().assign_coords(modality=["audio", "text"])},
            "are of audio, text, and the model has audio, visual",
        ),
    ],
)
def test_settings_that_do_not_fit_the_training_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        fitted(FusT(**{"unimodal_epochs": 2, **settings}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unimodal_epochs": 0}, "leaves out the stage in which confidences are measured"),
        ({"unimodal_epochs": -1}, "unimodal_epochs must be a whole number above 0"),
        ({"unimodal_epochs": 1.5}, "unimodal_epochs must be a whole number above 0"),
        ({"masking": "all"}, "masking='all' is not known"),
        ({"rho": 1.5}, "rho must lie from 0 to 1"),
        ({"rho": {"a": math.nan}}, "rho must be 0 or more"),
        ({"eta": -1}, "eta must be 0 or more"),
        ({"patches": {"a": (0,)}}, "patches must have a size above 0"),
        ({"learning_rates": {"a": -1}}, "learning_rates must be 0 or more"),
        ({"start_epoch": 1}, "divides the whole training into two stages"),
        ({"online": True, "unaugmented": []}, "Pass one of them"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        FusT(**settings)


def test_a_training_of_one_epoch_has_no_two_stages():
    with pytest.raises(SettingError, match="epochs=1 leaves none for the second stage"):
        fitted(FusT(), epochs=1)


def test_nothing_is_known_before_a_training():
    with pytest.raises(NotAttachedError, match="No confidences are known"):
        fust().measured()
