"""Leaving out the features of examples."""

from __future__ import annotations

from torch import Tensor

from imbalance_lens.errors import NotApplicableError


def drop(features: Tensor, dropped: Tensor) -> Tensor:
    """Return features that are zero for the examples that are dropped.

    Args:
        features: (batch, ...); (batch x frames, ...), the frames of an example together; or
            (steps, batch, width), as recurrent layers give it.
        dropped: (batch,) bool.

    Returns:
        Of the features' shape, bitwise equal for who is kept.

    Raises:
        NotApplicableError: it cannot be seen which features belong to which example.

    Example:
        >>> import torch
        >>> drop(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([True, False]))
        tensor([[0., 0.],
                [3., 4.]])
    """
    batch = len(dropped)
    if features.ndim == 3 and len(features) != batch and features.shape[1] == batch:
        return features.masked_fill(dropped.reshape(1, batch, 1), 0)
    frames, rest = divmod(len(features), batch) if features.ndim else (0, 1)
    if rest or not frames:
        raise NotApplicableError(
            f"Features of shape {tuple(features.shape)} do not have the batch of {batch} as first "
            "dimension, nor a multiple of it, so it is not known what belongs to which example. "
            "Name a site in Anatomy(sites=...) where the batch comes first."
        )
    rows = dropped if frames == 1 else dropped.repeat_interleave(frames, output_size=len(features))
    return features.masked_fill(rows.reshape(-1, *[1] * (features.ndim - 1)), 0)
