"""Leaving out patches of an input: which there are, and a random subset of them per example."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from imbalance_lens.errors import SettingError

WHOLE, EACH = "whole", "each"
Extent = int | str
"""Of a patch along one dimension: a number of entries, all of them, or one at a time, where every
place has a subset of its own."""


def usual_patches(shape: Sequence[int]) -> tuple[Extent, ...]:
    """Return the patches of an input whose kind its shape tells.

    (width,): its elements. (steps, width): whole steps. (channels, height, width): squares, 22 a
    side, as the authors' code has them for images of 224 x 224; of unequal sides 32 along the
    longer and 16 along the shorter one, as for its spectrograms of 1024 x 128; at least 4 x 4
    where that leaves 4 a side. (channels, frames, height, width): likewise, for each frame anew.

    Args:
        shape: of one example.

    Raises:
        SettingError: the shape does not tell.

    Example:
        >>> usual_patches((3, 224, 224)), usual_patches((1, 1024, 128)), usual_patches((50, 300))
        (('whole', 10, 10), ('whole', 32, 8), (1, 'whole'))
    """
    if len(shape) == 1:
        return (1,)
    if len(shape) == 2:
        return (1, WHOLE)
    if len(shape) in (3, 4):
        sides = shape[-2:]
        counts = (
            [22, 22] if sides[0] == sides[1] else [32 if s == max(sides) else 16 for s in sides]
        )
        extents = [
            max(side // count, min(4, side // 4), 1)
            for side, count in zip(sides, counts, strict=True)
        ]
        return (WHOLE, *[EACH] * (len(shape) - 3), *extents)
    raise SettingError(
        f"It is not known what the patches of an input of shape {tuple(shape)} per example are. "
        "Pass patches={modality: (...)} with a size, 'whole' or 'each' for every dimension."
    )


def patch_counts(shape: Sequence[int], patches: Sequence[Extent]) -> tuple[int, int]:
    """Return how many subsets are drawn per example, and of how many patches.

    What is left at the end of a side that is no multiple of the patch's belongs to none.

    Args:
        shape: of one example.
        patches: one extent per dimension.

    Raises:
        SettingError: another number of extents than of dimensions, or one that does not fit.

    Example:
        >>> patch_counts((3, 224, 224), ("whole", 10, 10))
        (1, 484)
    """
    check_patches(patches)
    fits = len(shape) == len(patches) and all(
        not isinstance(extent, int) or extent <= side
        for side, extent in zip(shape, patches, strict=True)
    )
    if not fits:
        raise SettingError(
            f"The patches {tuple(patches)} do not fit an input of shape {tuple(shape)} per "
            "example. Give for every dimension a size that is no larger, 'whole' or 'each'."
        )
    pairs = list(zip(shape, patches, strict=True))
    draws = math.prod(side for side, extent in pairs if extent == EACH)
    return draws, math.prod(side // extent for side, extent in pairs if isinstance(extent, int))


def check_patches(patches: Sequence[Extent]) -> None:
    """Complain about extents that none can be.

    Raises:
        SettingError: neither a size nor one of the words, or no size at all.
    """
    sizes = [extent for extent in patches if isinstance(extent, int)]
    words = [extent for extent in patches if not isinstance(extent, int)]
    if not sizes or min(sizes) < 1 or not set(words) <= {WHOLE, EACH}:
        raise SettingError(
            f"patches must have a size above 0, 'whole' or 'each' for every dimension of an "
            f"example, and one size at least; got {tuple(patches)!r}."
        )


def masked(inputs: Tensor, ratios: Tensor, patches: Sequence[Extent]) -> Tensor:
    """Return inputs in which a random subset of each example's patches is 0.

    Of P patches floor(ratio P) are left out, drawn from the random state of the inputs' device;
    nothing waits for the device.

    Args:
        inputs: (batch, ...), normalized, so that 0 says nothing.
        ratios: (batch,) share of the patches to leave out, 0 to 1; below 0 counts as 0.
        patches: one extent per dimension of an example, see `Extent`.

    Returns:
        Of the inputs' shape, bitwise equal where nothing is left out.

    Raises:
        SettingError: the patches do not fit the inputs.

    Example:
        >>> kept = masked(torch.ones(2, 3, 8, 8), torch.tensor([0.5, 0.0]), ("whole", 4, 4))
        >>> kept.mean((1, 2, 3))
        tensor([0.5000, 1.0000])
    """
    shape = inputs.shape[1:]
    draws, count = patch_counts(shape, patches)
    chance = torch.rand(len(inputs), draws, count, device=inputs.device)
    places = chance.argsort(-1).argsort(-1)
    left_out = places < (ratios.double() * count).floor().reshape(-1, 1, 1)
    return inputs.masked_fill(_over_entries(left_out, shape, patches), 0)


def _over_entries(left_out: Tensor, shape: Sequence[int], patches: Sequence[Extent]) -> Tensor:
    """Return (batch, draws, patches) as something that broadcasts over (batch, ...)."""
    batch = len(left_out)
    each = [side if extent == EACH else 1 for side, extent in zip(shape, patches, strict=True)]
    grid = [
        side // extent if isinstance(extent, int) else 1
        for side, extent in zip(shape, patches, strict=True)
    ]
    # Dimensions of both kinds take turns, so that each keeps its place.
    found = left_out.reshape(batch, *each, *grid)
    turns = [place for k in range(len(shape)) for place in (1 + k, 1 + len(shape) + k)]
    found = found.permute(0, *turns).reshape(
        batch, *[e * g for e, g in zip(each, grid, strict=True)]
    )
    for dimension, (side, extent) in enumerate(zip(shape, patches, strict=True), 1):
        if isinstance(extent, int):
            found = found.repeat_interleave(extent, dimension)
            rest = list(found.shape)
            rest[dimension] = side - found.shape[dimension]
            if rest[dimension]:
                found = torch.cat([found, found.new_zeros(rest)], dimension)
    return found
