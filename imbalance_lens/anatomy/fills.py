"""What stands in for the features of a modality that is absent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import AnatomyError, NotApplicableError
from ..trees import carries_signal, map_tensors
from .sites import Recorded

FILLS = ("zero", "mean", "permute", "input")


def filled(fill: str, tree: Any, *, batch: int, modality: str, seed: int = 0) -> Any:
    """Return features in which nothing of the examples themselves is left.

    Args:
        fill: "zero"; "mean", the mean over the batch; "permute", another example's features, every
            part of them from the same one, drawn once per modality.
        tree: what a site gave; integers and masks stay, except under "permute".
        batch: number of examples.
        modality: for messages.
        seed: of the permutation.

    Raises:
        AnatomyError: "mean" or "permute", and the first dimension is not the batch.
        NotApplicableError: "permute" with a batch of one.
    """
    if fill == "zero":
        return map_tensors(lambda t: torch.zeros_like(t) if carries_signal(t) else t.clone(), tree)

    def row_wise(tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or len(tensor) != batch:
            if not carries_signal(tensor):
                return tensor.clone()
            raise AnatomyError(
                f"The features of {modality!r} have shape {tuple(tensor.shape)}, whose first "
                f"dimension is not the batch of {batch}. Use fill='zero', or name a later site."
            )
        if fill == "permute":
            return tensor[order.to(tensor.device)]
        is_signal = carries_signal(tensor)
        return tensor.mean(0, keepdim=True).expand_as(tensor).clone() if is_signal else tensor

    order = derangement(batch, seed) if fill == "permute" else torch.empty(0)
    return map_tensors(row_wise, tree)


def from_zero_input(made: Recorded) -> Any:
    """Return what the encoder answers when what it takes is zero.

    Raises:
        NotApplicableError: it takes integers (token ids) only, for which zero is a word.
    """
    seen: list[Tensor] = []

    def blank(tensor: Tensor) -> Tensor:
        if not carries_signal(tensor):
            return tensor
        seen.append(tensor)
        return torch.zeros_like(tensor)

    args, kwargs = map_tensors(blank, (made.args, made.kwargs))
    if not seen:
        raise NotApplicableError(
            "fill='input' is not defined for an encoder that takes integers only. Use fill='zero', "
            "'mean' or 'permute', which replace its output."
        )
    return made.function(*args, **kwargs)


def derangement(count: int, seed: int) -> Tensor:
    """Return an order (count,) in which nothing stays in its place.

    Raises:
        NotApplicableError: one thing alone cannot change places.

    Example:
        >>> order = derangement(5, seed=0)
        >>> bool((order == torch.arange(5)).any()), sorted(order.tolist())
        (False, [0, 1, 2, 3, 4])
    """
    if count < 2:
        raise NotApplicableError(
            "fill='permute' needs two or more examples in every batch; got a batch of one. Use a "
            "larger batch, drop the last one, or use fill='zero'."
        )
    ring = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    order = torch.empty_like(ring)
    order[ring] = ring.roll(1)
    return order
