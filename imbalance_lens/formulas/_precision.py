"""The precision that every formula works in."""

import torch
from torch import Tensor


def upcast(value: Tensor | float) -> Tensor:
    """Return a floating tensor of single precision or more; a plain number becomes double.

    Half precision cannot hold a sum of some thousand probabilities, nor the square of a logit.
    """
    if not isinstance(value, Tensor):
        return torch.tensor(value, dtype=torch.float64)
    return value.to(torch.promote_types(value.dtype, torch.float32))
