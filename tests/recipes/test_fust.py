"""FusT in trainings: two stages, and inputs that are masked in training only."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from recipes.abri import Abri
from recipes.fust import FusT, mask_ratio
from recipes.unimodal import Unimodal

from .resumed import equal
from .trainings import (
    AudioVisual,
    Fused,
    data_of,
    model_of,
    same,
    sgd,
    weights_of,
)
from .two_stages import (
    NAMES,
    Watching,
    Wide,
    fitted,
    fust,
    given_confidences,
    watched,
    wide_data,
)


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


def test_it_goes_together_with_abri():
    fit = fitted([Abri(), fust()])
    assert {"confidence", "mask_ratio", "step_alpha"} <= set(fit.history.data_vars)
