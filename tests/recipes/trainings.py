"""Small trainings: a model without batch statistics, data of every kind, a recipe that listens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import recipes

CLASSES = 3
WIDTHS = {"audio": 5, "visual": 4, "text": 6}


class Fused(nn.Module):
    """One small encoder per modality and a head over the concatenation."""

    def __init__(self, head: nn.Module | None = None, names: Iterable[str] = ("audio", "visual")):
        super().__init__()
        self.names = tuple(names)
        for name in self.names:
            self.add_module(name, nn.Sequential(nn.Linear(WIDTHS[name], 8), nn.Tanh()))
        self.head = nn.Linear(8 * len(self.names), CLASSES) if head is None else head

    def forward(self, *given: Tensor, **inputs: Tensor) -> Tensor:
        inputs |= dict(zip(self.names, given, strict=False))
        return self.head(torch.cat([self.get_submodule(n)(inputs[n]) for n in self.names], dim=1))


class AudioVisual(nn.Module):
    """The same with arguments that have names."""

    def __init__(self, head: nn.Module | None = None, dropout: float = 0, norm: bool = False):
        super().__init__()
        parts = {
            name: nn.Sequential(
                nn.Linear(WIDTHS[name], 8),
                nn.BatchNorm1d(8) if norm else nn.Identity(),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            )
            for name in ("audio", "visual")
        }
        self.audio, self.visual = parts["audio"], parts["visual"]
        self.head = nn.Linear(16, CLASSES) if head is None else head

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], dim=1))


class Gated(nn.Module):
    """A head whose one modality is a gate for the other."""

    def __init__(self):
        super().__init__()
        self.audio, self.visual = nn.Linear(5, 8), nn.Linear(4, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(self.audio(audio) * self.visual(visual))


def model_of(kind: type[nn.Module] = AudioVisual, seed: int = 0, **settings: Any) -> nn.Module:
    torch.manual_seed(seed)
    return kind(**settings)


def data_of(
    examples: int = 24, names: Iterable[str] = ("audio", "visual"), seed: int = 0
) -> TensorDataset:
    """Examples whose class is easy to hear and hard to see."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(examples) % CLASSES
    inputs = []
    for place, name in enumerate(names):
        signal = torch.zeros(examples, WIDTHS[name])
        signal[:, :CLASSES] = nn.functional.one_hot(labels, CLASSES) * (2.0 if place == 0 else 0.3)
        inputs.append(signal + 0.5 * torch.randn(signal.shape, generator=draw))
    return TensorDataset(*inputs, labels)


def loader_of(batch_size: int = 8, examples: int = 24, **settings: Any) -> DataLoader:
    return DataLoader(data_of(examples), batch_size, **settings)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def sgd(parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, **{"lr": 0.1, "momentum": 0.9, **settings})


def trained(
    recipe: Any = "none", kind: type[nn.Module] = AudioVisual, **settings: Any
) -> dict[str, Tensor]:
    """The weights after a training, by default of one epoch."""
    given: dict[str, Any] = {
        "loader": loader_of(),
        "epochs": 1,
        "optimizer": sgd,
        "seed": 3,
        "device": "cpu",
        **settings,
    }
    return weights_of(recipes.apply(recipe, model_of(kind), **given).model)


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@dataclass(eq=False, kw_only=True)
class Listening(recipes.Recipe):
    """Does nothing and writes down what it is told; gradients are copied."""

    told: list[tuple] = field(default_factory=list, init=False)
    gradients: list[dict[str, Tensor]] = field(default_factory=list, init=False)
    seen: list[recipes.Seen] = field(default_factory=list, init=False)
    regresses = True
    multilabel = True

    card = recipes.Card(
        title="Listening",
        paper="",
        equations="",
        events=(
            "on_fit_start",
            "on_epoch_start",
            "on_batch",
            "on_features",
            "on_loss",
            "on_gradients",
            "on_step_end",
            "on_epoch_end",
            "on_fit_end",
        ),
        touches=(),
        needs="",
        defaults="",
    )

    def _note(self, event: str, run: recipes.Run, *more: Any) -> None:
        self.told.append((event, run.epoch, run.step, run.micro_step, *more))

    def on_fit_start(self, run: recipes.Run) -> None:
        self._note("on_fit_start", run)
        assert run.optimizer is None

    def on_epoch_start(self, run: recipes.Run) -> None:
        self._note("on_epoch_start", run)

    def on_batch(self, run: recipes.Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        self._note("on_batch", run, len(labels))
        return inputs, labels

    def on_features(self, run: recipes.Run, modality: str, features: Tensor) -> Tensor:
        self._note("on_features", run, modality, len(features))
        return features

    def on_loss(self, run: recipes.Run, seen: recipes.Seen, loss: Tensor) -> Tensor:
        self._note("on_loss", run, len(seen.labels))
        return loss

    def on_gradients(self, run: recipes.Run, seen: recipes.Seen) -> None:
        self._note("on_gradients", run)
        self.seen.append(seen)
        parameters = dict(run.model.named_parameters())
        self.gradients.append(
            {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}
        )

    def on_step_end(self, run: recipes.Run) -> None:
        self._note("on_step_end", run)

    def on_epoch_end(self, run: recipes.Run) -> None:
        self._note("on_epoch_end", run)

    def on_fit_end(self, run: recipes.Run) -> None:
        self._note("on_fit_end", run)


def fitted(recipe: Any, model: nn.Module, loader: Any = None, **settings: Any) -> recipes.Fit:
    """Train for an epoch, or as the settings say."""
    given: dict[str, Any] = {"epochs": 1, "optimizer": sgd, "seed": 3, "device": "cpu", **settings}
    return recipes.apply(recipe, model, loader_of() if loader is None else loader, **given)
