"""What a probe may ask for, and what it gets to see of one step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from .errors import NotAttachedError


class Need(Enum):
    """What a probe asks for; the value is the reason given where it cannot be had."""

    LABELS = "the loader gives no labels"
    FEATURES = "the encoders' outputs could not be read"
    MODALITY_LOGITS = "no modality has logits of its own here"
    COALITIONS = "the model cannot be run with some modalities absent"
    BATCHNORMS = "the model has no BatchNorm layer with weight and bias"


class Coalitions(Protocol):
    """Answers what the model says when only some modalities are present."""

    def __call__(self, present: Collection[str], fill: str = "zero") -> Tensor:
        """Return the logits (batch, classes) with the other modalities' features filled."""
        ...


@dataclass(frozen=True)
class BatchNormState:
    """The parameters and statistics of one BatchNorm layer, each (channels,).

    `running_mean` and `running_var` are empty where the layer keeps none; `modality` is the
    one whose encoder owns the layer, or "" where that is not known or not one.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    modality: str = ""


def _no_coalitions(present: Collection[str], fill: str = "zero") -> Tensor:  # noqa: ARG001
    raise NotAttachedError(
        "This observation holds no coalitions. Name Need.COALITIONS in the probe's needs."
    )


_EMPTY: Mapping = MappingProxyType({})


@dataclass(frozen=True)
class Observation:
    """One step, detached from the graph; what no probe asked for is empty, never None.

    Attributes:
        labels: (batch,) class indices; empty where the loader has none.
        logits: (batch, classes), the model's own output.
        modalities: their names, in the anatomy's order.
        step: optimizer step, or batch of the loader.
        epoch: pass over the data.
        features: each encoder's output, (batch, ...).
        modality_logits: each modality's own logits, (batch, classes).
        coalitions: logits for any set of present modalities.
        batchnorms: by module path, in the model's order; live tensors, so copy what you keep.
    """

    labels: Tensor
    logits: Tensor
    modalities: tuple[str, ...]
    step: int = 0
    epoch: int = 0
    features: Mapping[str, Tensor] = field(default_factory=lambda: _EMPTY)
    modality_logits: Mapping[str, Tensor] = field(default_factory=lambda: _EMPTY)
    coalitions: Coalitions = _no_coalitions
    batchnorms: Mapping[str, BatchNormState] = field(default_factory=lambda: _EMPTY)


NO_LABELS = torch.empty(0, dtype=torch.int64)
