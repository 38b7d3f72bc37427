"""Slowing down and speeding up parts of a model: gradients, noise on them, and updates."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from imbalance_lens import checks
from imbalance_lens.errors import NoEffectWarning, NotIntendedUseWarning, SettingError

from ._base import Run
from ._history import Quantity

APPLY_TO = ("grad", "update")
APPLIED_TO_UPDATE = (
    "apply_to='update' (ours) scales what the optimizer's step does to the parameters, weight "
    "decay included, and so acts with Adam and its like, which cancel a constant scale of gradients"
)

_CANCELS = (
    torch.optim.Adadelta,
    torch.optim.Adafactor,
    torch.optim.Adagrad,
    torch.optim.Adam,  # AdamW is one, too
    torch.optim.Adamax,
    torch.optim.Muon,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.SparseAdam,
)


def coefficient_of(recipe: str) -> Quantity:
    """Return what a recipe's coefficients are called in the history."""
    meaning = "factor on the pace of the modality's encoder"
    return Quantity("coefficient", "1", meaning, f"recipes.{recipe}.coefficient")


@torch.no_grad()
def modulate_(parameters: Iterable[Tensor], factor: Tensor) -> None:
    """Multiply gradients by a factor, in place; parameters without one are left out.

    Args:
        parameters: of one encoder.
        factor: 0-dim, on the parameters' device; nothing waits for it.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.sum().backward()
        >>> modulate_([weight], torch.tensor(0.5))
        >>> weight.grad
        tensor([0.5000, 0.5000])
    """
    by_device: dict[torch.device, list[Tensor]] = {}
    for gradient in _gradients(parameters):
        by_device.setdefault(gradient.device, []).append(gradient)
    for device, gradients in by_device.items():
        torch._foreach_mul_(gradients, factor.to(device))  # pyright: ignore[reportPrivateImportUsage]


@torch.no_grad()
def spreads(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the standard deviation over the entries of each gradient that can have noise.

    Those are all of two entries or more, but for sparse ones. Computed from the distances to the
    mean, as a difference of squares loses everything where the mean is large.

    Raises:
        SettingError: gradients that are spread over ranks.
    """
    return [
        torch.linalg.vector_norm(wide - wide.mean()) / (wide.numel() - 1) ** 0.5
        for wide in map(_widened, _noisy(parameters))
    ]


@torch.no_grad()
def add_noise_(
    parameters: Iterable[Tensor], deviations: Sequence[Tensor], generator: torch.Generator
) -> None:
    """Add normal noise to gradients, in place.

    Args:
        parameters: as those of `spreads`.
        deviations: the noise's standard deviation for each gradient that can have noise.
        generator: where the noise is drawn; ranks need equal ones.
    """
    for gradient, deviation in zip(_noisy(parameters), deviations, strict=True):
        noise = torch.randn(
            gradient.shape, generator=generator, device=generator.device, dtype=gradient.dtype
        )
        gradient.addcmul_(noise.to(gradient.device), deviation.to(gradient))


@dataclass(eq=False)
class Modulation:
    """Scales the pace of parameters, through gradients or through the optimizer's update.

    Args:
        apply_to: "grad" or "update"; the latter keeps a copy of the parameters for a step.
    """

    apply_to: str
    _before: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list, init=False)
    _checked: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        checks.one_of("apply_to", self.apply_to, APPLY_TO)

    def begin(self, run: Run, name: str, *, noise: bool = False) -> None:
        """Begin a step; at the first, warn of an optimizer that cancels what is done."""
        self._before.clear()  # of a step that the optimizer left out
        if not self._checked and self.apply_to == "grad" and cancels_scale(run.optimizer):
            warnings.warn(
                f"{name!r} scales gradients, and {type(run.optimizer).__name__} divides them by "
                "their own size, so a coefficient that hardly changes from step to step is lost"
                f"{' and only the noise is left' if noise else ''}. Pass apply_to='update', or "
                "train with SGD.",
                NotIntendedUseWarning if noise else NoEffectWarning,
                stacklevel=4,
            )
        self._checked = True

    @torch.no_grad()
    def scale(
        self, parameters: Sequence[Tensor], factor: Tensor, columns: slice | None = None
    ) -> None:
        """Scale what this step does to parameters, or to some columns of them."""
        if self.apply_to == "update":
            for parameter in parameters:
                held = parameter.detach() if columns is None else parameter.detach()[:, columns]
                self._before.append((held, held.clone(), factor))
        elif columns is None:
            modulate_(parameters, factor)
        else:
            for gradient in _gradients(parameters):
                gradient[:, columns].mul_(factor)

    @torch.no_grad()
    def finish(self, run: Run) -> None:
        """Scale the update that the optimizer has made."""
        for held, before, factor in self._before:
            kept = run.unless_skipped(factor, torch.ones_like(factor))
            held.copy_(torch.lerp(before, held, kept.to(held)))
        self._before.clear()


def cancels_scale(optimizer: Optimizer | None) -> bool:
    """Say whether an optimizer's steps hardly depend on the gradients' scale.

    So do torch's own adaptive ones and those derived from them; of any other it is not known,
    and nothing is said.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> cancels_scale(torch.optim.AdamW([weight])), cancels_scale(torch.optim.SGD([weight]))
        (True, False)
    """
    return isinstance(optimizer, _CANCELS)


def look_for_parameters(run: Run, name: str) -> None:
    """Warn where a recipe that scales encoders finds nothing to scale, or not all of it."""
    if not any(run.parameters(modality) for modality in run.modalities):
        warnings.warn(
            f"No encoder has trainable parameters that are its alone (all are frozen, or shared "
            f"between modalities), so {name!r} changes no encoder.",
            NoEffectWarning,
            stacklevel=4,
        )
    elif held := [*run.anatomy.shared, *_tied(run)]:
        more = f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else ""
        warnings.warn(
            f"Not one modality's alone, but shared or tied: {', '.join(held[:_SHOWN])}{more}. "
            f"{name!r} scales only what one modality owns and leaves the rest as it is.",
            NotIntendedUseWarning,
            stacklevel=4,
        )


_SHOWN = 4
"""How many names a warning lists."""


def _tied(run: Run) -> list[str]:
    """Return the names of parameters in encoders that modules outside of these hold, too."""
    owned = {p for modality in run.modalities for p in run.parameters(modality)}
    return [
        path
        for path, parameter in run.model.named_parameters(remove_duplicate=False)
        if parameter.requires_grad and parameter not in owned and run.anatomy.owner(path)
    ]


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _noisy(parameters: Iterable[Tensor]) -> list[Tensor]:
    found = [g for g in _gradients(parameters) if not g.is_sparse and g.numel() > 1]
    if any(_spread_over_ranks(gradient) for gradient in found):
        raise SettingError(
            "Noise is drawn for whole gradients, and these are spread over ranks (DTensor, as "
            "FSDP2 makes them). Pass noise=False."
        )
    return found


def _widened(gradient: Tensor) -> Tensor:
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32))


def _spread_over_ranks(gradient: Tensor) -> bool:
    if type(gradient) is Tensor:
        return False
    from torch.distributed.tensor import DTensor  # takes a while, and few need it

    return isinstance(gradient, DTensor)
