"""What a probe may ask for, and what it gets to see of one step."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    FUSION = "fusion and head cannot be run on other features"
    GRADIENTS = "no encoder has trainable parameters of its own"
    BATCHNORMS = "the model has no BatchNorm layer with weight and bias"
    ACTIVATIONS = "no ReLU was seen when the model ran, nor an activation function like it"


class Coalitions(Protocol):
    """Answers what the model says when only some modalities are present."""

    def __call__(self, present: Collection[str], fill: str = "zero", draw: int = 0) -> Tensor:
        """Return the logits (batch, classes) with the other modalities' features filled.

        Args:
            present: the modalities whose features stay as they are.
            fill: "zero"; "mean" over the batch; "permute", another example's; "shift", those of
                the example `draw` places on; "input", the encoder's answer to a zero input.
            draw: which permutation, or how far to shift.
        """
        ...


class Fusion(Protocol):
    """Answers what fusion and head say to other features."""

    def __call__(self, signals: Mapping[str, Sequence[Tensor]]) -> Tensor:
        """Return the logits (batch, classes), differentiable where gradients are enabled.

        Args:
            signals: modality -> as many tensors as `Observation.signals` has for it; modalities
                left out keep their own.
        """
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


@dataclass(frozen=True)
class Activation:
    """What an activation function gave in one call: the ends of each example's map.

    Attributes:
        highest: (batch, channels), the largest entry over all positions; NaN where one is.
        lowest: (batch, channels), the smallest; None where nobody has asked for that.
        function: what was called, such as "relu" or "gelu".
        rectifies: whether it gives exact zeros, as ReLU does.
        producer: path of the module whose output it was given, or inside which that was made.
        kind: what made that: "batchnorm", "conv", "linear", "sum" or "other".
        modality: the one whose encoder owns the producer, or "" where that is not known or not
            one.
        maps: (batch, channels, *positions), all of it; None where nobody has asked for that.
    """

    highest: Tensor
    lowest: Tensor | None
    function: str
    rectifies: bool
    producer: str
    kind: str
    modality: str = ""
    maps: Tensor | None = None


BN_STATS = ("running", "batch")
"""Statistics that BatchNorm layers can use in a look at activations: their own, the batch's."""


class Activations(Protocol):
    """Answers what the activation functions of the model gave for the batch."""

    def __call__(self, bn_stats: str = "running") -> Mapping[str, Activation]:
        """Return place -> activation, in the order of the calls.

        Args:
            bn_stats: one of `BN_STATS`; "batch" takes a pass through the model.
        """
        ...


@dataclass(frozen=True)
class Gradients:
    """Gradients of mean cross-entropies on one encoder's own parameters, flat, (parameters,).

    Attributes:
        joint: that of the joint logits.
        alone: that of the modality's own logits.
        parameter_norm: scalar, the length of the parameters.
    """

    joint: Tensor
    alone: Tensor
    parameter_norm: Tensor


def _no_coalitions(present: Collection[str], fill: str = "zero", draw: int = 0) -> Tensor:  # noqa: ARG001
    raise _not_asked_for("coalitions", Need.COALITIONS)


def _no_fusion(signals: Mapping[str, Sequence[Tensor]]) -> Tensor:  # noqa: ARG001
    raise _not_asked_for("fusion", Need.FUSION)


def _no_activations(bn_stats: str = "running") -> Mapping[str, Activation]:  # noqa: ARG001
    raise _not_asked_for("activations", Need.ACTIVATIONS)


def _not_asked_for(what: str, need: Need) -> NotAttachedError:
    return NotAttachedError(f"This observation holds no {what}. Name {need} in the probe's needs.")


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
        training: whether the examples are a fixed part of those that the model was trained on.
        live: whether it is a step of a running training.
        features: each encoder's output, (batch, ...).
        modality_logits: each modality's own logits, (batch, classes).
        coalitions: logits for any set of present modalities.
        reruns_encoders: whether `coalitions` runs whole encoders again, as it does where a
            modality is replaced at an input of the model.
        signals: all floating-point tensors that stand for a modality; `features` is the first.
        fusion: logits for other signals.
        gradients: by modality; those without trainable parameters of their own are left out.
        batchnorms: by module path, in the model's order; live tensors, so copy what you keep.
        activations: what the activation functions gave, by place.
    """

    labels: Tensor
    logits: Tensor
    modalities: tuple[str, ...]
    step: int = 0
    epoch: int = 0
    training: bool = False
    live: bool = False
    features: Mapping[str, Tensor] = field(default_factory=lambda: _EMPTY)
    modality_logits: Mapping[str, Tensor] = field(default_factory=lambda: _EMPTY)
    coalitions: Coalitions = _no_coalitions
    reruns_encoders: bool = False
    signals: Mapping[str, tuple[Tensor, ...]] = field(default_factory=lambda: _EMPTY)
    fusion: Fusion = _no_fusion
    gradients: Mapping[str, Gradients] = field(default_factory=lambda: _EMPTY)
    batchnorms: Mapping[str, BatchNormState] = field(default_factory=lambda: _EMPTY)
    activations: Activations = _no_activations


NO_LABELS = torch.empty(0, dtype=torch.int64)
