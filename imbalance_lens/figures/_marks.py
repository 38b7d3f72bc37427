"""What several figures are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._style import JOINT_COLOR, NEUTRAL, Look, shown

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

MOST_TICKS = 24
LETTERS_PER_INCH = 18


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


def name_ticks(ax: Axes, names: Sequence[Any], *, slant: float = 0) -> None:
    """Write names below the places 0, 1, ...; of very many, every second, third, ..."""
    stride = max(1, -(-len(names) // MOST_TICKS))
    places = list(range(0, len(names), stride))
    turned: dict[str, Any] = {"rotation": slant, "ha": "right", "rotation_mode": "anchor"}
    told = [shown(names[place]) for place in places]
    ax.set_xticks(places, told, **(turned if slant else {}))
    ax.set_xlim(-0.6, max(len(names), 1) - 0.4)


def slanted(names: Iterable[Any]) -> float:
    """Return the angle at which names do not run into each other."""
    lengths = [len(shown(name)) for name in names]
    return 35 if sum(lengths) > 34 else 0


def legend(ax: Axes) -> None:
    """Put the legend above the axes, where it hides nothing, in as many columns as fit."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if not once:
        return
    room = ax.get_window_extent().width / ax.figure.dpi * LETTERS_PER_INCH
    told = [textwrap.fill(label, max(int(room) - 6, 12)) for label in once]
    ax.legend(
        list(once.values()),
        told,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(len(once), int(room / (max(map(len, once)) + 6)))),
        columnspacing=1.2,
        handlelength=1.5,
        borderaxespad=0.2,
    )


def say_if_unknown(ax: Axes, *shows: xr.DataArray) -> None:
    """Say so where there is no number to draw."""
    if not any(np.isfinite(values.values.astype(float)).any() for values in shows):
        ax.text(0.5, 0.5, "no number is known", transform=ax.transAxes, ha="center", color=NEUTRAL)
