"""Which entries of an image, a spectrogram or a signal speak for a class, and which against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError
from ._style import COLUMN, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = "PuOr_r"
"""Orange for, purple against: the two ends look different without telling red from green too."""
_PALE = 0.35
"""How strongly the example is drawn: dark parts would swallow the colors over them."""


def plot_attributions(values: Any, attribution: Any, *, ax: Axes | None = None) -> Axes:
    """Draw what each entry of one example adds to the logit, over the example itself.

    Orange entries speak for the class, purple ones against it; the color bar is in logits.
    Channels are averaged.

    Args:
        values: (height, width), (channels, height, width) or (length,), one modality of one
            example; a tensor on the CPU will do.
        attribution: of the same shape, as `imbalance_lens.attribute_inputs` gives it.
        ax: where to draw. Default: a new figure.

    Returns:
        The axes.

    Raises:
        SettingError: the shapes differ, or are of something else.

    Example:
        >>> image = np.linspace(0, 1, 64).reshape(1, 8, 8)
        >>> ax = plot_attributions(image, image - 0.5)
        >>> len(ax.images)
        2
    """
    shown, added = (np.asarray(given, dtype=float) for given in (values, attribution))
    if shown.shape != added.shape or not 1 <= shown.ndim <= 3 or not shown.size:
        raise SettingError(
            "values and attribution must have one shape: (height, width), (channels, height, "
            f"width) or (length,); got {shown.shape} and {added.shape}. Give one example."
        )
    if shown.ndim == 3:
        shown, added = shown.mean(0), added.mean(0)
    most = float(np.nanmax(np.abs(added), initial=0)) or 1.0
    scale: dict[str, Any] = {"cmap": _COLORS, "vmin": -most, "vmax": most}
    with canvas(ax, COLUMN, 2.6) as ax:
        if shown.ndim == 1:
            ax.plot(shown, color="#444444", linewidth=0.6)
            marks = ax.scatter(range(len(shown)), shown, 8, added, linewidths=0, **scale)
            ax.set_xlabel("Position")
        else:
            ax.imshow(shown, cmap="Greys_r", alpha=_PALE, aspect="auto")
            strength = np.sqrt(np.nan_to_num(np.abs(added) / most))
            marks = ax.imshow(added, alpha=strength, aspect="auto", **scale)
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        scale_bar: Any = ax.figure.colorbar(marks, ax=ax, label="Added to the logit (logit)")
        scale_bar.solids.set_alpha(1)
    return ax
