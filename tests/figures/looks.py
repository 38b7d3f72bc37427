"""What a reader would complain about on a drawn page."""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SLACK = 2.5
"""In pixels."""


def complaints(figure: Figure) -> list[str]:
    """What reaches over the edge of the page, and which tick labels touch."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn, page = figure.get_tightbbox(canvas.get_renderer()), figure.bbox_inches
    over = np.subtract([*page.min, *drawn.max], [*drawn.min, *page.max]) * figure.dpi
    found = [f"{over.max():.0f} pixels are cut off"] if over.max() > SLACK else []
    return found + [pair for ax in figure.axes for pair in _touching(ax)]


def _touching(ax: Axes) -> list[str]:
    """Neighboring tick labels that touch; of slanted ones, those closer than their letters."""
    low, high = sorted(ax.get_xlim())
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    labels = [label for at, label in ticks if low <= at <= high and label.get_text().strip()]
    found = []
    for one, other in pairwise(labels):
        left, right = one.get_window_extent(), other.get_window_extent()
        letter = float(one.get_fontsize()) / 72 * ax.figure.dpi
        room = right.x1 - left.x1 - letter if one.get_rotation() else right.x0 - left.x1
        if room < -SLACK:
            found.append(f"{one.get_text()} touches {other.get_text()}")
    return found
