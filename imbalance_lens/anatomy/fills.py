"""What stands in for the features of a modality that is absent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..errors import NotApplicableError
from ..trees import carries_signal, map_tensors, tensors
from .sites import Recorded, Site, item_of

FILLS = ("zero", "mean", "permute", "shift", "input")


@dataclass(frozen=True)
class Fill:
    """How the features of absent modalities are replaced in one batch.

    Args:
        kind: one of `FILLS`: "zero"; "mean", the mean over the batch; "permute", another
            example's, every part of them from the same one; "shift", those of the example `draw`
            places on; "input", what the encoder answers to a zero input.
        draw: which permutation, or how far to shift.
        examples: size of the batch.
        modalities: all of them; each has permutations of its own, whatever their order.
        from_zero: answers to zero inputs that are known already.
    """

    kind: str
    draw: int
    examples: int
    modalities: tuple[str, ...]
    from_zero: dict[int, Any]

    def __call__(self, modality: str, site: Site, tree: Any, made: Recorded | None) -> Any:
        """Return what stands in for the features `tree` that a site gave.

        Args:
            modality: the absent one.
            site: where the features were read.
            tree: the features; integers and masks stay, except when examples change places.
            made: the call that gave them; None where they are an input of the model.

        Raises:
            NotApplicableError: the fill is not defined for these features.
        """
        if made is None:
            self._check_input(modality, site, tree)
        if self.kind == "input" and made is not None:
            if id(made) not in self.from_zero:
                self.from_zero[id(made)] = from_zero_input(made)
            return map_tensors(torch.clone, item_of(self.from_zero[id(made)], site))
        if self.kind in ("zero", "input"):
            return map_tensors(
                lambda t: torch.zeros_like(t) if carries_signal(t) else t.clone(), tree
            )
        return map_tensors(partial(self._row_wise, modality, self._order(modality)), tree)

    def _order(self, modality: str) -> Tensor:
        if self.kind == "permute":
            # By name, so that the order in which modalities are told changes nothing.
            place = sorted(self.modalities).index(modality)
            seed = self.draw * len(self.modalities) + place
            return derangement(self.examples, seed)
        return torch.arange(self.examples).roll(-self.draw)

    def _row_wise(self, modality: str, order: Tensor, tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or len(tensor) != self.examples:
            if not carries_signal(tensor):
                return tensor.clone()
            if tensor.ndim == 3 and tensor.shape[1] == self.examples:
                return self._state_wise(modality, order, tensor)
            if tensor.ndim and len(tensor) and len(tensor) % self.examples == 0:
                return self._frame_wise(modality, order, tensor)
            raise NotApplicableError(
                f"The features of {modality!r} have shape {tuple(tensor.shape)}, of which "
                f"neither the first dimension nor, of three, the second is the batch of "
                f"{self.examples}. Use fill='zero', or name a later module that gives one row per "
                "example in Anatomy(sites=...)."
            )
        if self.kind != "mean":
            return tensor[order.to(tensor.device)]
        is_signal = carries_signal(tensor)
        return tensor.mean(0, keepdim=True).expand_as(tensor).clone() if is_signal else tensor

    def _frame_wise(self, modality: str, order: Tensor, tensor: Tensor) -> Tensor:
        """Treat rows as frames: those of one example follow each other, as `flatten` puts them."""
        frames = tensor.unflatten(0, (self.examples, -1))
        return self._row_wise(modality, order, frames).flatten(0, 1)

    def _state_wise(self, modality: str, order: Tensor, tensor: Tensor) -> Tensor:
        """Treat rows as steps or layers, and columns as examples: so recurrent layers answer."""
        rows = self._row_wise(modality, order, tensor.transpose(0, 1))
        return rows.transpose(0, 1).contiguous()

    def _check_input(self, modality: str, site: Site, tree: Any) -> None:
        moves = self.kind in ("permute", "shift")
        if not moves and not all(map(carries_signal, tensors(tree))):
            raise NotApplicableError(
                f"The input {site.input!r} of {modality!r} holds integers, for which "
                f"fill={self.kind!r} is not defined. Use fill='permute', or name an encoder whose "
                "output can be replaced."
            )


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
