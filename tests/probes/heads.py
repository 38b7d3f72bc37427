"""Observations of a head that is a plain function of the modalities' features."""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from imbalance_lens.anatomy.fills import derangement
from imbalance_lens.observation import NO_LABELS, Observation
from imbalance_lens.probes._base import Probe

Features = Mapping[str, Tensor]
Head = Callable[[Features], Tensor]
Asked = list[tuple[frozenset[str], str, int]]


def seeing(
    head: Head, features: Features, labels: Tensor | None = None, *, asked: Asked | None = None
) -> Observation:
    """Return what a probe sees of one batch; `asked` gets what it asks for."""
    names = tuple(features)

    def coalitions(present: Collection[str], fill: str = "zero", draw: int = 0) -> Tensor:
        if asked is not None:
            asked.append((frozenset(present), fill, draw))
        order = torch.arange(len(features[names[0]])).roll(-draw)
        given = {}
        for place, (name, values) in enumerate(features.items()):
            if name in present:
                given[name] = values
            elif fill == "permute":
                given[name] = values[derangement(len(values), draw * len(names) + place)]
            else:
                given[name] = values[order] if fill == "shift" else torch.zeros_like(values)
        return head(given)

    return Observation(
        labels=NO_LABELS if labels is None else labels,
        logits=head(features),
        modalities=names,
        coalitions=coalitions,
    )


def nonlinear(
    names: Sequence[str] = ("audio", "visual", "text"), examples: int = 12, seed: int = 0
) -> tuple[Head, dict[str, Tensor], Tensor]:
    """Return a head that mixes its features, with features and labels for it."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    features = {name: normal(examples, 3) for name in names}
    inner = {name: normal(3, 8) for name in names}
    outer = normal(8, 4)

    def head(given) -> Tensor:
        return torch.stack([given[m] @ inner[m] for m in names]).sum(0).tanh() @ outer

    return head, features, torch.randint(4, (examples,), generator=draw)


def stored_bytes(probe: Probe) -> int:
    """Return the size of the numbers that a probe keeps per example."""
    return sum(column.nbytes for column in vars(probe)["_rows"].on_host().values())
