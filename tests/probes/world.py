"""A small world of random encoders under a fusion that mixes them."""

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from imbalance_lens.formulas import coalitions
from imbalance_lens.observation import BatchNormState, Observation


@dataclass(frozen=True)
class World:
    """Examples whose logits are known for every set of modalities.

    An example's numbers depend on nothing but its row and the names of the modalities, so that
    batches and orders can be compared to the last bit.
    """

    modalities: tuple[str, ...] = ("audio", "visual")
    examples: int = 24
    classes: int = 4
    dtype: torch.dtype = torch.float32
    labels: Tensor = field(init=False, repr=False)
    features: dict[str, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        labels = torch.randint(self.classes, (self.examples,), generator=_generator("labels"))
        signal = one_hot(labels, self.classes).float()
        noisy = {name: signal + _normal(name, *signal.shape) for name in self.modalities}
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "features", {name: x.relu() for name, x in noisy.items()})

    def logits(self, present: Collection[str], fill: str = "zero") -> Tensor:
        """Return the logits of all examples, (examples, classes)."""
        hidden = torch.zeros(self.examples, 8)
        for name in sorted(self.modalities):  # the order of a sum would change its last bits
            given = self.features[name]
            taken = given if name in present else FILLS[fill](given)
            hidden = hidden + taken @ _normal(f"{name} in", self.classes, 8)
        return (hidden.tanh() @ _normal("out", 8, self.classes) + 0.1).to(self.dtype)

    def see(
        self, rows: Tensor | None = None, *, step: int = 0, epoch: int = 0, nan: bool = False
    ) -> Observation:
        """Return an observation of some examples, the first one's logits NaN if asked for."""
        rows = torch.arange(self.examples) if rows is None else rows

        def taken(logits: Tensor) -> Tensor:
            logits = logits[rows]
            if nan:
                logits[0] = torch.nan
            return logits

        return Observation(
            labels=self.labels[rows],
            logits=taken(self.logits(self.modalities)),
            modalities=self.modalities,
            step=step,
            epoch=epoch,
            features={name: self.features[name][rows].to(self.dtype) for name in self.modalities},
            modality_logits={name: taken(self.logits({name})) for name in self.modalities},
            coalitions=Known(
                {
                    (present, fill): taken(self.logits(present, fill))
                    for present in coalitions(self.modalities)
                    for fill in FILLS
                }
            ),
            batchnorms={f"{name}.bn": _batchnorm(name) for name in self.modalities},
        )

    def history(self, order: Tensor | None = None, *, parts: int = 1) -> Iterator[Observation]:
        """Give two epochs of two steps, the examples of each step in one or more parts."""
        rows = torch.arange(self.examples) if order is None else order
        for epoch in range(2):
            for k, half in enumerate(rows.chunk(2)):
                for part in half.chunk(parts):
                    yield self.see(part, step=2 * epoch + k, epoch=epoch)


class Known(dict[tuple[frozenset[str], str], Tensor]):
    """Coalitions whose logits are there already, the same tensor each time it is asked for."""

    def __call__(self, present: Collection[str], fill: str = "zero") -> Tensor:
        return self[frozenset(present), fill]


FILLS = {
    "zero": torch.zeros_like,
    "mean": lambda features: features.mean(0, keepdim=True).expand_as(features),
    "permute": lambda features: features.roll(1, 0),
    "input": lambda features: torch.full_like(features, 0.3),
}


def _batchnorm(name: str) -> BatchNormState:
    weight = _normal(f"{name} bn", 6)
    weight[2] = 1e-12
    return BatchNormState(
        weight=weight,
        bias=torch.tensor([0.0, 0.1, 1e-13, -0.3, 0.2, 0.4]),
        running_mean=torch.zeros(6),
        running_var=torch.ones(6),
        modality=name,
    )


def _normal(name: str, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=_generator(name))


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))
