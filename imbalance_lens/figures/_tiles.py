"""Many small images side by side, some of them boxed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.patches import Rectangle

from ._marks import legend
from ._style import DOUBLE, NEUTRAL, canvas, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BROAD = 2.2
"""Width of a page of tiles beside its height, about."""
_THIN = 4
"""Tiles that are broader than so many times their height are stretched, or nothing is seen."""
_LONG = 256
"""Of longer sides of an image, entries at even distances are drawn; a page shows no more."""
_MOST = 1024
_HEIGHT = (1.2, 8.0)
"""The smallest and the largest height of a new figure, in inches."""


class Box(NamedTuple):
    """What a frame around a tile says, and how it looks."""

    label: str
    color: str
    dash: str = "-"


def tiles(
    ax: Axes | None,
    images: np.ndarray,
    boxes: Mapping[Box, Sequence[int]],
    title: str,
    **scale: Any,
) -> Axes:
    """Draw images in rows, from the upper left, of more than 1,024 the first.

    Args:
        ax: where to draw, or None.
        images: (count, height, width), or (count, height, width, 3) for colors.
        boxes: which tiles each kind of box is around.
        title: where the images are from.
        scale: of the colors, as `imshow` takes it.
    """
    drawn = _stretched(images[:_MOST])
    count, height, width = drawn.shape[:3]
    gap = max(1, round(0.08 * max(height, width)))
    cell = height + gap, width + gap
    fair = round(np.sqrt(max(count, 1) * _BROAD * cell[0] / cell[1]))
    near = range(max(1, fair - 2), fair + 3)
    columns = min(near, key=lambda number: (-count % number, abs(number - fair)))
    rows = max(1, -(-count // columns))
    page = np.full((rows * cell[0] + gap, columns * cell[1] + gap, *drawn.shape[3:]), np.nan)
    corners = [(gap + k // columns * cell[0], gap + k % columns * cell[1]) for k in range(count)]
    for (top, left), image in zip(corners, drawn, strict=True):
        page[top : top + height, left : left + width] = image
    tall = DOUBLE * page.shape[0] / page.shape[1] + 0.3
    with canvas(ax, DOUBLE, float(np.clip(tall, *_HEIGHT))) as ax:
        # White between tiles; an image of colors has no color of its own for what is unknown.
        ax.imshow(page if page.ndim == 2 else np.nan_to_num(page, nan=1.0), **scale)
        for box, places in boxes.items():
            style: dict[str, Any] = {"edgecolor": box.color, "linestyle": box.dash, "fill": False}
            for place in (place for place in places if place < count):
                top, left = corners[place]
                at = left - 0.5 - gap / 2, top - 0.5 - gap / 2
                ax.add_patch(Rectangle(at, cell[1], cell[0], linewidth=1.2, **style))
            known = f"{box.label}: {len(places)} of {len(images)}"
            ax.add_patch(Rectangle((0, 0), 0, 0, linewidth=1.2, label=known, **style))
        ax.set_title(shown(title, 40), loc="right", color=NEUTRAL)
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        legend(ax)
        if len(images) > count:
            ax.set_xlabel(f"the first {count} of {len(images)}", color=NEUTRAL)
    return ax


def _stretched(images: np.ndarray) -> np.ndarray:
    """Repeat rows, or columns, of very thin images, after thinning out long ones."""
    down, right = (-(-max(size, 1) // _LONG) for size in images.shape[1:3])
    images = images[:, ::down, ::right]
    height, width = (max(size, 1) for size in images.shape[1:3])
    images = np.repeat(images, -(-width // (_THIN * height)), axis=1)
    return np.repeat(images, -(-height // (_THIN * width)), axis=2)


def by_largest(images: np.ndarray) -> np.ndarray:
    """Return every image, (count, ...), divided by the size of its own largest entry, if any."""
    sides = tuple(range(1, images.ndim))
    most = np.nan_to_num(np.abs(images)).max(sides, initial=0, keepdims=True)
    return images / np.where(most == 0, 1, most)
