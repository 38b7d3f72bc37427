"""Transformer layers, for an encoder and for a fusion."""

from __future__ import annotations

from torch import nn

from .. import checks
from ..errors import SettingError


def transformer(width: int, *, layers: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    """Return Transformer layers as in Vaswani et al., from and to (batch, tokens, width).

    Raises:
        SettingError: a number that is not whole and above 0, or a width that the heads do not
            divide.

    Example:
        >>> import torch
        >>> layers = transformer(8, layers=2, heads=4, dropout=0.0)
        >>> layers(torch.ones(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """
    for name, number in {"width": width, "layers": layers, "heads": heads}.items():
        checks.whole(name, number)
    if width % heads:
        raise SettingError(
            f"width must be a multiple of heads; got {width} and {heads}. Choose others."
        )
    if not 0 <= dropout < 1:
        raise SettingError(f"dropout must be 0 or more and below 1; got {dropout!r}.")
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
