"""BatchNorm layers whose scale and shift are mixed with those of a fresh layer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from imbalance_lens import checks
from imbalance_lens.errors import NotApplicableError

ALPHAS = ("channel", "scalar")


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
        >>> [name for name, _ in layer.named_parameters()]
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
        return self._mixed("weight", self.added_weight)

    @property
    def bias(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The mixed shift."""
        return self._mixed("bias", self.added_bias)

    def reset_parameters(self) -> None:
        """Make both layers fresh ones; alpha stays."""
        self.reset_running_stats()
        for layer in ("", "added_"):
            nn.init.ones_(self.get_parameter(f"{layer}weight"))
            nn.init.zeros_(self.get_parameter(f"{layer}bias"))

    def extra_repr(self) -> str:
        """Return the original's description, and the kind of alpha."""
        return f"{super().extra_repr()}, alpha={ALPHAS[self.alpha.ndim == 0]}"

    def get_parameter(self, target: str) -> nn.Parameter:
        """Return a parameter of the state; "weight" and "bias" are the original's."""
        own = self._parameters.get(target)
        return super().get_parameter(target) if own is None else own

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is made at run time, so pickle could not find it by its name.
        return _blank, (original_kind(self),), self.__getstate__()

    def _mixed(self, name: str, added: Tensor) -> Tensor:
        # lerp gives its ends exactly, so an alpha of 1 is the original bit by bit.
        return torch.lerp(added, self.get_parameter(name), self.alpha)


def is_adaptive(module: nn.Module) -> bool:
    """Say whether a module is an adaptive BatchNorm layer."""
    return isinstance(module, AdaptiveBatchNorm)


def original_kind(layer: nn.Module) -> type[_BatchNorm]:
    """Return the class that an adaptive layer had before."""
    return type(layer).__bases__[1]  # pyright: ignore[reportReturnType]


def adapt_(layer: _BatchNorm, *, alpha: str, initial_alpha: float) -> None:
    """Make a BatchNorm layer an adaptive one, in place.

    Args:
        layer: with scale and shift of its own.
        alpha: "channel" or "scalar".
        initial_alpha: what alpha begins with.
    """
    checks.one_of("alpha", alpha, ALPHAS)
    weight = layer.weight.detach()
    start = weight.new_tensor(initial_alpha)
    layer.register_parameter("added_weight", nn.Parameter(torch.ones_like(weight)))
    layer.register_parameter("added_bias", nn.Parameter(torch.zeros_like(weight)))
    mix = start if alpha == "scalar" else start.expand_as(weight).clone()
    layer.register_parameter("alpha", nn.Parameter(mix))
    # The object stays, and with it whatever hooks, parents and attributes refer to it.
    layer.__class__ = _adaptive(type(layer))


@torch.no_grad()
def fold_(layer: AdaptiveBatchNorm) -> None:
    """Make an adaptive layer what it was, with the mixed scale and shift, in place."""
    for name in ("weight", "bias"):
        layer.get_parameter(name).copy_(getattr(layer, name))
    for name in ("added_weight", "added_bias", "alpha"):
        delattr(layer, name)
    layer.__class__ = original_kind(layer)


@torch.no_grad()
def refresh_(layer: _BatchNorm, channels: Tensor) -> None:
    """Give channels the scale and shift of a fresh layer, in place.

    Args:
        layer: with scale and shift of its own.
        channels: (channels,) bool, which ones.
    """
    where = channels.to(layer.weight.device)
    layer.weight.copy_(torch.where(where, 1, layer.weight))
    layer.bias.copy_(torch.where(where, 0, layer.bias))


def of_kind(
    model: nn.Module, fits: Callable[[nn.Module], bool]
) -> Iterator[tuple[nn.Module, tuple[str, ...]]]:
    """Yield the modules of a kind, each once, with all of its paths."""
    places: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if fits(module):
            places.setdefault(module, []).append(path)
    for module, paths in places.items():
        yield module, tuple(paths)


@functools.cache
def _adaptive(kind: type[_BatchNorm]) -> type[AdaptiveBatchNorm]:
    about = {"__module__": __name__, "__doc__": AdaptiveBatchNorm.__doc__}
    return type(f"Adaptive{kind.__name__}", (AdaptiveBatchNorm, kind), about)


def _blank(kind: type[_BatchNorm]) -> AdaptiveBatchNorm:
    made = _adaptive(kind)
    return made.__new__(made)
