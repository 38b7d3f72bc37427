"""Features whose classes a linear classifier reads well, badly and not at all."""

from collections.abc import Mapping

import torch
import xarray as xr
from torch import Tensor, nn

from imbalance_lens.observation import Observation
from imbalance_lens.probes.linear_probe import LinearProbe

NAMES: tuple[str, ...] = ("audio", "visual", "text")
CLASSES = 3


def drawn(
    examples: int, *, seed: int = 0, scale: float = 1.0, offset: float = 0.0
) -> tuple[dict[str, Tensor], Tensor]:
    """Features that show the class clearly, hardly, and not at all; and the labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (examples,), generator=draw)
    shown = nn.functional.one_hot(labels, CLASSES).float()
    noise = (torch.randn(examples, 4, generator=draw) for _ in NAMES)
    features = {
        name: scale * (nn.functional.pad(height * shown, (0, 1)) + n) + offset
        for name, height, n in zip(NAMES, (4.0, 1.0, 0.0), noise, strict=True)
    }
    return features, labels


def seeing(
    features: dict[str, Tensor],
    labels: Tensor,
    own: Mapping[str, Tensor] | None = None,
    *,
    training: bool = False,
) -> Observation:
    silent = torch.zeros(len(labels), CLASSES)
    own = dict.fromkeys(features, silent) if own is None else own
    return Observation(
        labels=labels,
        logits=sum(own.values(), silent),
        modalities=tuple(features),
        features=features,
        modality_logits=own,
        training=training,
    )


def observed(*seen: Observation, **settings) -> LinearProbe:
    probe = LinearProbe(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe


def answer(*seen: Observation, **settings) -> xr.Dataset:
    return observed(*seen, **settings).result()
