"""A small world of random encoders under a fusion that mixes them."""

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from imbalance_lens.observation import Activation, BatchNormState, Gradients, Observation

HIDDEN = 8


@dataclass(frozen=True)
class World:
    """Examples whose logits are known for every set of modalities.

    An example's numbers depend on nothing but its row and the names of the modalities, so that
    batches and orders can be compared; fills look at all examples, not at a batch, but for
    "shift", which pairs those of a batch.
    """

    modalities: tuple[str, ...] = ("audio", "visual")
    examples: int = 24
    classes: int = 4
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    labels: Tensor = field(init=False, repr=False)
    features: dict[str, Tensor] = field(init=False, repr=False)
    weights: dict[str, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        labels = torch.randint(self.classes, (self.examples,), generator=_generator("labels"))
        noise = {m: _normal(m, self.examples, self.classes) for m in self.modalities}
        features = {m: (one_hot(labels, self.classes) + x).relu() for m, x in noise.items()}
        weights = {m: _normal(f"{m} in", self.classes, HIDDEN) for m in self.modalities}
        weights["out"] = _normal("out", HIDDEN, self.classes)
        object.__setattr__(self, "labels", labels.to(self.device))
        object.__setattr__(self, "features", {m: x.to(self.device) for m, x in features.items()})
        object.__setattr__(self, "weights", {n: w.to(self.device) for n, w in weights.items()})

    def logits(
        self,
        present: Collection[str],
        fill: str = "zero",
        draw: int = 0,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of all examples, (examples, classes)."""
        batch = torch.arange(self.examples, device=self.device) if batch is None else batch
        signals = {
            name: given if name in present else _filled(given, fill, draw, batch)
            for name, given in self.features.items()
        }
        return self.fused(signals, self.weights)

    def fused(self, signals: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """Return the logits for some signals, in double precision up to the end."""
        parts = [signals[name].double() @ weights[name] for name in sorted(signals)]
        return (torch.stack(parts).sum(0).tanh() @ weights["out"] + 0.1).to(self.dtype)

    def see(
        self,
        rows: Tensor | None = None,
        *,
        step: int = 0,
        epoch: int = 0,
        training: bool = False,
        nan: bool = False,
    ) -> Observation:
        """Return an observation of some examples, the first one's logits NaN if asked for.

        So are then the gradients of the losses, which are means over the examples.
        """
        rows = (torch.arange(self.examples) if rows is None else rows).to(self.device)

        def taken(logits: Tensor) -> Tensor:
            logits = logits[rows]
            if nan:
                logits[0] = torch.nan
            return logits

        features = {name: values[rows].to(self.dtype) for name, values in self.features.items()}

        def fusion(signals: Mapping[str, Sequence[Tensor]]) -> Tensor:
            changed = {name: tensors[0] for name, tensors in signals.items()}
            fused = self.fused({**features, **changed}, self.weights)
            return torch.cat([fused[:1] * torch.nan, fused[1:]]) if nan else fused

        return Observation(
            labels=self.labels[rows],
            logits=taken(self.logits(self.modalities)),
            modalities=self.modalities,
            step=step,
            epoch=epoch,
            training=training,
            features=features,
            modality_logits={name: taken(self.logits({name})) for name in self.modalities},
            coalitions=lambda present, fill="zero", draw=0: taken(
                self.logits(present, fill, draw, rows)
            ),
            signals={name: (values,) for name, values in features.items()},
            fusion=fusion,
            gradients={name: self.gradients(name, rows, nan=nan) for name in self.modalities},
            batchnorms={f"{name}.bn": _batchnorm(name, self.device) for name in self.modalities},
            activations=lambda bn_stats="running": {
                f"{name}.bn > relu": _relu(name, features[name]) for name in self.modalities
            },
        )

    def gradients(self, modality: str, rows: Tensor, *, nan: bool = False) -> Gradients:
        """Return the gradients of the losses on the weight that only this modality uses."""
        weight = self.weights[modality].clone().requires_grad_()
        weights = {**self.weights, modality: weight}
        alone = {
            name: values if name == modality else torch.zeros_like(values)
            for name, values in self.features.items()
        }
        answers = []
        for signals in (self.features, alone):
            logits = self.fused(signals, weights)[rows].float() * (torch.nan if nan else 1)
            (gradient,) = torch.autograd.grad(cross_entropy(logits, self.labels[rows]), weight)
            answers.append(gradient.flatten().float())
        return Gradients(*answers, parameter_norm=torch.linalg.vector_norm(weight.detach()))

    def history(self, order: Tensor | None = None, *, parts: int = 1) -> Iterator[Observation]:
        """Give two epochs of two steps, the examples of each step in one or more parts.

        Then the same again as the examples that the model was trained on.
        """
        rows = torch.arange(self.examples) if order is None else order
        for training, epoch in product((False, True), range(2)):
            for k, half in enumerate(rows.chunk(2)):
                for part in half.chunk(parts):
                    yield self.see(part, step=2 * epoch + k, epoch=epoch, training=training)


FILLS = ("zero", "mean", "permute", "shift", "input")


def _filled(features: Tensor, fill: str, draw: int, batch: Tensor) -> Tensor:
    if fill == "mean":
        return features.mean(0, keepdim=True).expand_as(features)
    if fill == "permute":
        return features.roll(draw + 1, 0)
    if fill == "shift":
        return features.index_copy(0, batch, features[batch.roll(-draw)])
    return torch.full_like(features, 0.3 if fill == "input" else 0)


def _batchnorm(name: str, device: str) -> BatchNormState:
    weight = _normal(f"{name} bn", 6).float()
    weight[2] = 1e-12
    return BatchNormState(
        weight=weight.to(device),
        bias=torch.tensor([0.0, 0.1, 1e-13, -0.3, 0.2, 0.4], device=device),
        running_mean=torch.zeros(6, device=device),
        running_var=torch.ones(6, device=device),
        modality=name,
    )


def _relu(name: str, values: Tensor) -> Activation:
    """Return an activation with one position, which is both ends of its map."""
    return Activation(values, values, "relu", True, f"{name}.bn", "batchnorm", modality=name)


def _activation(name: str, features: Tensor, bn_stats: str) -> Activation:
    shift = 0.5 if bn_stats == "batch" else 0.1
    return Activation(
        highest=(features - shift).relu(),
        lowest=(features - shift - 0.2).relu(),
        function="relu",
        rectifies=True,
        producer=f"{name}.conv",
        kind="conv",
        modality=name,
    )


def _normal(name: str, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=_generator(name), dtype=torch.float64)


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))
