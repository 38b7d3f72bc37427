"""From features of any shape to one row per example."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import NotApplicableError, SettingError


def by_example(values: Tensor, examples: int, modality: str) -> Tensor:
    """Return values with the examples first and what was folded into the batch second.

    The rows are the examples; or (steps, examples, channels), as recurrent layers give them; or
    a whole number of rows per example, one example's rows together, as where the frames of a
    video went through the encoder as if they were examples.

    Args:
        values: features of one modality, or numbers of the same shape.
        examples: size of the batch.
        modality: whose they are.

    Returns:
        (examples, rows per example, ...).

    Raises:
        NotApplicableError: the rows do not belong to examples.
    """
    if values.ndim and len(values) == examples:
        return values.unsqueeze(1)
    if values.ndim == 3 and values.shape[1] == examples:
        return values.transpose(0, 1).unsqueeze(1)
    if values.ndim and examples and len(values) % examples == 0:
        return values.unflatten(0, (examples, -1))
    raise NotApplicableError(
        f"the features of {modality!r} have the shape {tuple(values.shape)} for {examples} "
        "examples, so they do not belong to single examples; name a module that gives one row "
        "per example in Anatomy(sites=...)"
    )


def pooled(values: Tensor, examples: int, modality: str, channel_dim: int | None = None) -> Tensor:
    """Return the mean of features over everything but examples and channels.

    Args:
        values: features of one modality, as `by_example` takes them.
        examples: size of the batch.
        modality: whose they are.
        channel_dim: which dimension of (batch, ...) holds the channels. Default: the second of
            four or more, as in (batch, channels, height, width); the last of three, as in
            (batch, tokens, channels).

    Returns:
        (examples, channels), single precision; twice as wide for complex features.

    Raises:
        NotApplicableError: the rows do not belong to examples.
        SettingError: the features have no such dimension.
    """
    rows = by_example(values.detach(), examples, modality)
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32)).mean(1)
    if wide.ndim == 1:
        wide = wide.unsqueeze(1)
    if channel_dim is None:
        channel_dim = 1 if wide.ndim > 3 else wide.ndim - 1
    elif channel_dim not in range(1 - wide.ndim, wide.ndim) or channel_dim == 0:
        raise SettingError(
            f"channel_dims[{modality!r}]={channel_dim!r} names no dimension of channels: the "
            f"features have the shape {tuple(wide.shape)}. Choose one after the first."
        )
    others = [dim for dim in range(1, wide.ndim) if dim != channel_dim % wide.ndim]
    means = wide.mean(others) if others else wide
    if means.is_complex():
        means = torch.view_as_real(means).flatten(1)
    return means.float()
