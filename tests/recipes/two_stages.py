"""Trainings in two stages, watched epoch by epoch, and what they are to find."""

from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

import recipes
from recipes.fust import FusT

from .trainings import (
    CLASSES,
    AudioVisual,
    Listening,
    data_of,
    loader_of,
    model_of,
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
