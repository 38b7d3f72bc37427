"""Compiling, layouts, precision and optimizers in the bundled loop."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recipes
from imbalance_lens.errors import (
    ClashWarning,
    NoEffectWarning,
    NotAttachedError,
    NotIntendedUseWarning,
    SettingError,
)

from .trainings import (
    CLASSES,
    fitted,
    loader_of,
    model_of,
    same,
    sgd,
    trained,
    weights_of,
)

# torch.compile imports what PyTorch itself deprecates.
quietly = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ALL = ["none", "unimodal", "multi_loss", "ogm_ge", "opm", "mlb", ["opm", "ogm_ge"]]


@quietly
def test_a_compiled_model_is_refused_and_compile_does_it() -> None:
    with pytest.raises(NotAttachedError, match="compile=True"):
        fitted("ogm_ge", torch.compile(model_of()))  # pyright: ignore[reportArgumentType]


@quietly
@pytest.mark.parametrize("recipe", ["none", ["opm", "ogm_ge"]])
def test_encoders_can_be_compiled(recipe: Any, monkeypatch) -> None:
    compiled = []
    real = torch.compile

    def eager(function: Any) -> Any:
        compiled.append(function)
        return real(function, backend="eager")

    monkeypatch.setattr(torch, "compile", eager)
    model = model_of()
    fit = fitted(recipe, model, compile=True)
    assert len(compiled) == 2
    plain = weights_of(fitted(recipe, model_of()).model)
    for name, tensor in weights_of(fit.model).items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-4, atol=1e-5)
    assert "forward" not in vars(model.audio)


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(True), nn.AdaptiveAvgPool2d(1))
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1).flatten(1))


@pytest.mark.parametrize("recipe", ["none", ["opm", "mlb"]])
def test_images_can_have_their_channels_last(recipe: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    data = [
        (torch.randn(6, 1, 8, 8, generator=draw), torch.randn(6, 3, 9, 9, generator=draw), y)
        for y in torch.arange(12).reshape(2, 6) % CLASSES
    ]
    layouts: list[bool] = []
    model = model_of(Images)
    model.get_submodule("visual.0").register_forward_pre_hook(
        lambda _, args: layouts.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    last = weights_of(fitted(recipe, model, data, channels_last=True).model)
    assert layouts[-1]
    first = weights_of(fitted(recipe, model_of(Images), data).model)
    for name, tensor in first.items():
        torch.testing.assert_close(last[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("recipe", ALL)
def test_bf16_trains_with_float32_weights(recipe: Any) -> None:
    fit = fitted(recipe, model_of(), precision="bf16", val_loader=loader_of())
    assert fit.history["step_loss"].notnull().all()
    assert {tensor.dtype for tensor in weights_of(fit.model).values()} == {torch.float32}
    assert not same(weights_of(fit.model), weights_of(fitted(recipe, model_of()).model))
    assert '"bfloat16"' in fit.history.attrs["settings"]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_optimizers_that_cancel_a_scale_are_told_of(optimizer: Any) -> None:
    with pytest.warns(NoEffectWarning, match="apply_to='update'"):
        fitted("ogm_ge", model_of(), optimizer=optimizer, noise=False)
    with pytest.warns(NotIntendedUseWarning, match="only the noise is left"):
        fitted("ogm_ge", model_of(), optimizer=optimizer)
    fitted("ogm_ge", model_of(), optimizer=optimizer, noise=False, apply_to="update")


def test_recipes_that_change_the_same_thing_clash() -> None:
    with pytest.warns(ClashWarning, match="both change the encoder gradients") as told:
        recipes.apply(["ogm_ge", "mlb"], model_of(), loader_of(), epochs=1, device="cpu")
    assert told[0].filename == __file__


def test_an_optimizer_or_a_scheduler_of_something_else_is_refused() -> None:
    with pytest.raises(SettingError, match="no trainable parameter of this model"):
        fitted("none", model_of(), optimizer=sgd(model_of().parameters()))
    other = torch.optim.lr_scheduler.StepLR(sgd(model_of().parameters()), 1)
    with pytest.raises(SettingError, match="of another optimizer"):
        fitted("none", model_of(), scheduler=other)
    with pytest.raises(SettingError, match="gave a list"):
        fitted("none", model_of(), optimizer=list)
    with pytest.raises(SettingError, match="gave a str"):
        fitted("none", model_of(), scheduler="cosine")
    frozen = model_of().requires_grad_(False)
    with pytest.raises(SettingError, match="No parameter of the model is trainable"):
        fitted("none", frozen)


def test_an_optimizer_of_ones_own_gets_the_heads() -> None:
    model = model_of()
    optimizer = sgd(model.parameters())
    fit = fitted("multi_loss", model, optimizer=optimizer)
    assert len(optimizer.param_groups) == 2
    assert same(weights_of(model), trained("multi_loss"))
    assert fit.heads


def test_an_optimizer_that_needs_a_closure_is_refused() -> None:
    needs = "LBFGS needs a function for the loss"
    with pytest.raises(SettingError, match=needs):
        fitted("none", model_of(), optimizer=torch.optim.LBFGS)
    model = model_of()
    with pytest.raises(SettingError, match=needs):
        fitted("none", model, optimizer=torch.optim.LBFGS(model.parameters()))


def test_a_scheduler_can_be_given_as_its_class() -> None:
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    fit = fitted("none", model_of(), scheduler=plateau, val_loader=loader_of(), epochs=2)
    assert fit.history.sizes["epoch"] == 2
    with pytest.raises(SettingError, match="follows the validation loss"):
        fitted("none", model_of(), scheduler=plateau)


def test_a_recipe_that_begins_after_the_end_is_told_of() -> None:
    with pytest.warns(NoEffectWarning, match="'opm' begins in epoch 1, .* so it does nothing"):
        fitted("opm", model_of(), start_epoch=1)
