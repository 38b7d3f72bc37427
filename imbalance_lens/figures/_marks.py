"""What several figures are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from ._style import JOINT_COLOR, NEUTRAL, Look, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

MOST_TICKS = 24
_WIDENED = 1.07
"""By how much a layout widens new axes, whose labels rarely fill the margins of matplotlib."""


def reach(ds: xr.Dataset, name: str) -> np.ndarray | None:
    """Return how far a variable's interval goes below and above it, (2, ...), or None."""
    if f"{name}_interval" not in ds:
        return None
    value, ends = ds[name].values, ds[f"{name}_interval"]
    low, high = (
        ends.sel(bound=bound).transpose(*ds[name].dims).values for bound in ("low", "high")
    )
    return np.clip(np.stack([value - low, high - value]), 0, None)


def bar(ax: Axes, x: float, value: float, look: Look, error: Any = None, **settings: Any) -> None:
    """Draw one bar, with its interval where that is known."""
    ends = None
    if error is not None and np.isfinite([value, *error]).all():
        ends = np.reshape(error, (2, 1))
    ax.bar(
        x,
        value,
        yerr=ends,
        error_kw={"elinewidth": 0.8, "capsize": 2, "ecolor": "#444444"},
        **{
            "color": look.color,
            "hatch": look.hatch,
            "edgecolor": "white",
            "linewidth": 0.3,
            **settings,
        },
    )


def curve(
    ax: Axes, x: Any, values: Any, look: Look, error: np.ndarray | None = None, **settings: Any
) -> None:
    """Draw a line, with a band where its interval is known; where it is NaN there is a gap."""
    marker = "o" if np.size(x) <= MOST_TICKS else ""
    drawn = {"color": look.color, "linestyle": look.dash, "marker": marker, **settings}
    ax.plot(x, values, **drawn)
    if error is not None:
        low, high = values - error[0], values + error[1]
        ax.fill_between(x, low, high, color=look.color, alpha=0.18, linewidth=0)


def level(ax: Axes, value: float, label: str, *, joint: bool = False) -> None:
    """Draw a horizontal line to compare with, unless its place is not known."""
    if np.isfinite(value):
        color = JOINT_COLOR if joint else NEUTRAL
        ax.axhline(value, color=color, linestyle="--" if joint else ":", linewidth=1, label=label)


def name_ticks(ax: Axes, names: Sequence[Any], *, slant: float | None = None) -> None:
    """Write names below the places 0, 1, ...; of more than find room, every second, third, ...

    Args:
        ax: where to write.
        names: one per place.
        slant: angle in degrees. Default: none where the names find room side by side, else 35.
    """
    told, size = [shown(name) for name in names], _points("xtick.labelsize")
    room = _room(ax) / max(len(names), 1)
    side_by_side = max((_width(text, size) for text in told), default=0) + size / 2
    angle = (35 if side_by_side > room else 0) if slant is None else slant
    stride = -(-(2 * size if angle else side_by_side) // room)
    places = range(0, len(names), max(1, int(stride), -(-len(names) // MOST_TICKS)))
    turned: dict[str, Any] = {"rotation": angle, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(places, [told[place] for place in places], **(turned if angle else {}))
    ax.set_xlim(-0.6, max(len(names), 1) - 0.4)


def epoch_axis(ax: Axes) -> None:
    """Name the axis of epochs, which are whole numbers."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("Epoch")


def legend(ax: Axes) -> None:
    """Put the legend above the axes, where it hides nothing, in as many columns as fit."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if not once:
        return
    size, room = _points("legend.fontsize"), _room(ax)
    told = [textwrap.fill(label, max(int(room / size * 1.6) - 6, 12)) for label in once]
    widest = max(_width(line, size) for label in told for line in label.splitlines())
    ax.legend(
        list(once.values()),
        told,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(len(once), int(room / (widest + 3.5 * size)))),
        columnspacing=1.2,
        handlelength=1.5,
        borderaxespad=0.2,
    )


def _room(ax: Axes) -> float:
    """Return the width of the axes in points, about: the layout moves their edges later."""
    return ax.get_window_extent().width / ax.figure.dpi * 72 * _WIDENED


def _points(setting: Any) -> float:
    return FontProperties(size=mpl.rcParams[setting]).get_size_in_points()


def _width(text: str, size: float) -> float:
    """Return how many points of width a text takes."""
    return TextPath((0, 0), text, size=size).get_extents().width if text.strip() else 0.0


def say_if_unknown(ax: Axes, *shows: xr.DataArray) -> None:
    """Say so where there is no number to draw."""
    if not any(np.isfinite(values.values.astype(float)).any() for values in shows):
        ax.text(0.5, 0.5, "no number is known", transform=ax.transAxes, ha="center", color=NEUTRAL)
