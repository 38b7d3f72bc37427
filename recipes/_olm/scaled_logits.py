"""A model whose logits are scaled."""

from __future__ import annotations

from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn

from imbalance_lens import checks
from imbalance_lens.anatomy.outputs import LogitsOf, checked_logits, find_logits


def scaled(
    model: nn.Module, coefficient: SupportsFloat, *, logits: LogitsOf | None = None
) -> nn.Module:
    """Return a model that gives another one's logits, multiplied.

    Equation: w s (the weighted logits of Zong et al., IJCAI 2024, eq. 9). No prediction changes by
    that, only how sure it is. The coefficient is saved with the weights.

    Args:
        model: is held, not copied; works for a unimodal head too.
        coefficient: w, above 0.
        logits: gets the logits (batch, classes) out of the model's output. Default: the output
            itself, its "logits", or the one part that can be the logits.

    Returns:
        A module that takes what `model` takes and gives logits (batch, classes).

    Raises:
        SettingError: a coefficient that is not above 0.
        BatchError: when called, where the logits are not to be told from the rest of the output.

    Example:
        >>> louder = scaled(nn.Identity(), 2.0)
        >>> louder(torch.tensor([[1.0, 3.0]]))
        tensor([[2., 6.]])
    """
    return _Scaled(model, float(coefficient), None if logits is None else checked_logits(logits))


class _Scaled(nn.Module):
    coefficient: Tensor

    def __init__(self, model: nn.Module, coefficient: float, logits_of: LogitsOf | None) -> None:
        super().__init__()
        checks.positive("coefficient", coefficient)
        self.model = model
        self.register_buffer("coefficient", torch.tensor(coefficient))
        self._logits_of = logits_of

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the scaled logits (batch, classes)."""
        output = self.model(*args, **kwargs)
        # Found anew each time: what is found is a function that no file can hold.
        logits_of = self._logits_of or find_logits(output, (), lambda _: None)
        return logits_of(output) * self.coefficient
