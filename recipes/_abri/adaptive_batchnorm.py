"""BatchNorm layers whose scale and shift are mixed with those of a fresh layer."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from imbalance_lens import Anatomy, checks
from imbalance_lens.errors import NotApplicableError

from .batchnorms import changeable

ALPHAS = ("channel", "scalar")

Model = TypeVar("Model", bound=nn.Module)


class AdaptiveBatchNorm(_BatchNorm):
    """A BatchNorm layer, mixed with a fresh one.

    Equation: y_k = alpha_k BN_ori(x_k) + (1 - alpha_k) BN_add(x_k) (Feng et al., 2023, eq. 3).

    Both layers see the same batches, so from equal statistics on their statistics stay equal, and
    the sum is a single BatchNorm with the scale alpha gamma + (1 - alpha) gamma' and the shift
    alpha beta + (1 - alpha) beta', in training and in evaluation. That is what is computed: one
    pass and one set of statistics.

    `recipes.abri.convert` makes it of a live layer, whose kind it keeps: an adaptive BatchNorm2d
    is a BatchNorm2d, with the same forward, hooks and running statistics.

    Attributes:
        weight: (channels,), the mixed scale. The parameter of this name, in `named_parameters`
            and in the state, is the original's.
        bias: (channels,), the mixed shift; likewise.
        original: the original's own scale gamma and shift beta.
        added_weight: (channels,), scale gamma' of the fresh layer.
        added_bias: (channels,), its shift beta'.
        alpha: (channels,) or a scalar, how much the original counts; not bounded.

    Raises:
        NotApplicableError: it was called by its constructor.

    Example:
        >>> from recipes.abri import convert
        >>> layer = nn.BatchNorm2d(2)
        >>> torch.nn.init.constant_(layer.weight, 0.0)
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
        >>> convert(layer).weight.tolist()
        [0.5, 0.5]
        >>> list(dict(layer.named_parameters()))
        ['weight', 'bias', 'added_weight', 'added_bias', 'alpha']
    """

    added_weight: nn.Parameter
    added_bias: nn.Parameter
    alpha: nn.Parameter

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotApplicableError(
            "An AdaptiveBatchNorm is made of a live layer: recipes.abri.convert(layer)."
        )

    @property
    def weight(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The mixed scale."""
        # lerp gives its ends exactly, so an alpha of 1 is the original bit by bit.
        return torch.lerp(self.added_weight, self.original[0], self.alpha)

    @property
    def bias(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The mixed shift."""
        return torch.lerp(self.added_bias, self.original[1], self.alpha)

    @property
    def original(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Scale and shift of the original layer, each (channels,)."""
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        return weight, bias  # pyright: ignore[reportReturnType]

    def reset_parameters(self) -> None:
        """Make both layers fresh ones; alpha stays."""
        self.reset_running_stats()
        for weight, bias in (self.original, (self.added_weight, self.added_bias)):
            nn.init.ones_(weight)
            nn.init.zeros_(bias)

    def extra_repr(self) -> str:
        """Return the original's description, and the kind of alpha."""
        return f"{super().extra_repr()}, alpha={ALPHAS[self.alpha.ndim == 0]}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is made at run time, so pickle could not find it by its name.
        return _blank, (_original_kind(self),), self.__getstate__()


def convert(
    model: Model,
    *,
    modalities: Iterable[str] | None = None,
    anatomy: Anatomy | Mapping[str, str] | None = None,
    alpha: str = "channel",
    initial_alpha: float = 0.5,
) -> Model:
    """Make BatchNorm layers adaptive ones, in place.

    A layer that stands at several places is converted once; one that several modalities use, only
    with all of them. Layers without scale and shift have nothing to mix and stay as they are, and
    so do those that are adaptive already. Build the optimizer afterwards, and leave weight decay
    off `alpha`; `recipes.apply` sees to both.

    Args:
        model: with its weights loaded; or a single BatchNorm layer.
        modalities: those whose encoders are converted. Default: all layers of the model.
        anatomy: who is who, or {modality: path of its encoder}; needed where modalities are named.
        alpha: "channel" for one per channel, "scalar" for one per layer.
        initial_alpha: how much the original counts at first; 1 changes nothing, 0 is a fresh layer.

    Returns:
        The model.

    Raises:
        NotApplicableError: no such layer, or one that is frozen, lazy, or whose parameters are
            not its own.
        SettingError: a value that is not allowed, or modalities without an anatomy.
        UnknownNameError: a modality that the anatomy does not have.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> before = sum(p.numel() for p in model[1].parameters())
        >>> convert(model)[1]
        AdaptiveBatchNorm2d(8, eps=1e-05, ..., alpha=channel)
        >>> sum(p.numel() for p in model[1].parameters()) / before
        2.5
    """
    checks.one_of("alpha", alpha, ALPHAS)
    for layer in changeable(model, modalities, anatomy):
        if not isinstance(layer, AdaptiveBatchNorm):
            _adapt_(layer, alpha=alpha, initial_alpha=initial_alpha)
    return model


def fold(model: Model) -> Model:
    """Make adaptive BatchNorm layers plain ones again, in place; the model answers as before.

    The classes are those from before `convert`, so the state fits a model that was never
    converted. An optimizer made before does not know of it: fold after the training.

    Args:
        model: with adaptive layers; one without is left as it is.

    Returns:
        The model.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> fold(convert(model))[1]
        BatchNorm2d(8, eps=1e-05, ...)
        >>> model[1].weight.shape, list(model[1].state_dict())[:2]
        (torch.Size([8]), ['weight', 'bias'])
    """
    for layer in [module for module in model.modules() if isinstance(module, AdaptiveBatchNorm)]:
        _fold_(layer)
    return model


def _original_kind(layer: nn.Module) -> type[_BatchNorm]:
    """Return the class that an adaptive layer had before."""
    return type(layer).__bases__[1]  # pyright: ignore[reportReturnType]


def _adapt_(layer: _BatchNorm, *, alpha: str, initial_alpha: float) -> None:
    """Make a BatchNorm layer an adaptive one, in place.

    Args:
        layer: with scale and shift of its own.
        alpha: "channel" or "scalar".
        initial_alpha: what alpha begins with.
    """
    weight = layer.weight.detach()
    start = weight.new_tensor(initial_alpha)
    layer.register_parameter("added_weight", nn.Parameter(torch.ones_like(weight)))
    layer.register_parameter("added_bias", nn.Parameter(torch.zeros_like(weight)))
    mix = start if alpha == "scalar" else start.expand_as(weight).clone()
    layer.register_parameter("alpha", nn.Parameter(mix))
    # The object stays, and with it whatever hooks, parents and attributes refer to it.
    layer.__class__ = _adaptive(type(layer))


@torch.no_grad()
def _fold_(layer: AdaptiveBatchNorm) -> None:
    """Make an adaptive layer what it was, with the mixed scale and shift, in place."""
    for own, mixed in zip(layer.original, (layer.weight, layer.bias), strict=True):
        own.copy_(mixed)
    for name in ("added_weight", "added_bias", "alpha"):
        delattr(layer, name)
    layer.__class__ = _original_kind(layer)  # pyright: ignore[reportAttributeAccessIssue]


@functools.cache
def _adaptive(kind: type[_BatchNorm]) -> type[AdaptiveBatchNorm]:
    about = {"__module__": __name__, "__doc__": AdaptiveBatchNorm.__doc__}
    return type(f"Adaptive{kind.__name__}", (AdaptiveBatchNorm, kind), about)


def _blank(kind: type[_BatchNorm]) -> AdaptiveBatchNorm:
    made = _adaptive(kind)
    return made.__new__(made)
