"""Gradients: how far two pull in one direction."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks

_PIECE = 2**22  # entries; all at once in double precision would take twice what is given


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosine of the angle between two vectors.

    Equation: <a, b> / (|a| |b|), summed in double precision, as the squares of a gradient's
    entries are far below single precision's smallest number.

    Args:
        one: (entries,), such as a flat gradient.
        other: (entries,), another one on the same parameters.

    Returns:
        A dimensionless scalar in double precision: 1 for one direction, below 0 where a step
        along one is a step back along the other. NaN where a vector has no direction, being 0
        or empty, or holds NaN or infinity.

    Raises:
        SettingError: the vectors are not (entries,) or differ in length.

    Example:
        >>> cosine(torch.tensor([1.0, 0.0]), torch.tensor([-3.0, 4.0]))
        tensor(-0.6000, dtype=torch.float64)
    """
    checks.shape("one", one, "(entries,)", one.ndim == 1)
    checks.shape("other", other, f"{tuple(one.shape)}", other.shape == one.shape)
    products = [
        torch.stack([a.dot(b), a.dot(a), b.dot(b)])
        for a, b in (
            (a.double(), b.double())
            for a, b in zip(one.split(_PIECE), other.split(_PIECE), strict=True)
        )
    ]
    together, *lengths = torch.stack(products).sum(0)
    return (together / (lengths[0].sqrt() * lengths[1].sqrt())).clamp(-1, 1)
