"""How figures look: widths, fonts, and a color for each modality."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from .. import schema
from ..checks import one_of
from ..files import replacing

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

COLUMN, DOUBLE = 3.35, 6.9
"""Widths in inches: of a column, and of both columns, in the papers of the field."""
HEIGHT = 2.5

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito's palette, those that can be told apart on white without seeing all colors."""
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
_HATCHES = ("", "////", "....", "xxxx")
JOINT_COLOR, NEUTRAL = "#222222", "#8A8A8A"

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that a figure is the same everywhere
    "font.size": 8,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # whole outlines: some publishers refuse Type 3
    "ps.fonttype": 42,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "imbalance-lens",  # the same figure is the same file
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


class Look(NamedTuple):
    """How one modality is drawn, in every figure."""

    color: str
    dash: Any = "-"
    hatch: str = ""


@contextmanager
def canvas(ax: Axes | None, width: float = COLUMN, height: float = HEIGHT) -> Iterator[Axes]:
    """Give axes to draw on: those given, in their own style, or new ones in that of the house.

    Args:
        ax: the axes, or None.
        width: of a new figure, in inches.
        height: of a new figure, in inches.
    """
    if ax is not None:
        yield ax
        return
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained").subplots()


def saved(axes: Axes | Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure into a file, or leave what was there before."""
    figure: Any = axes if isinstance(axes, Figure) else axes.get_figure(root=True)
    target = Path(path)
    form = target.suffix.removeprefix(".").lower()
    one_of("format", form, sorted(figure.canvas.get_supported_filetypes()))
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
    with mpl.rc_context(STYLE), replacing(target) as draft, io.BytesIO() as held:
        # Not into the file, since matplotlib hides why a PDF cannot be written.
        figure.savefig(held, format=form, metadata=undated)
        draft.write_bytes(held.getvalue())


def modalities(ds: xr.Dataset) -> list[str]:
    """Return the modalities in the order that gives them their colors."""
    if "modalities" in ds.attrs:
        return schema.from_json(ds.attrs["modalities"])
    for name in ("modality", "head"):
        if name in ds.coords:
            found = dict.fromkeys(ds[name].values.tolist())
            return [name for name in found if name not in ("", schema.JOINT) and "+" not in name]
    return []


def look(name: str, names: Sequence[str]) -> Look:
    """Return how a modality, or the joint head, is drawn."""
    if name == schema.JOINT:
        return Look(JOINT_COLOR)
    if name not in names:
        return Look(NEUTRAL)
    turn, place = divmod(names.index(name), len(_COLORS))
    turn %= len(_DASHES)
    return Look(_COLORS[place], _DASHES[turn], _HATCHES[turn])


def words(values: xr.DataArray, width: int = 34) -> str:
    """Return the label of an axis: what it shows, and its units, in lines of about one length."""
    text, units = values.attrs["long_name"], values.attrs["units"]
    told = text if units == "1" else f"{text} ({units})"
    told = told[:1].upper() + told[1:]
    lines = len(textwrap.wrap(told, width))
    fitting = (textwrap.wrap(told, narrow) for narrow in range(width // 2, width + 1))
    return "\n".join(next(parts for parts in fitting if len(parts) <= lines))


def shown(name: object, most: int = 28) -> str:
    """Return a name that takes one line; the middle of a long one goes."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))
    if len(text) > most:
        text = f"{text[: most // 2 - 1]}...{text[len(text) - (most // 2 - 2) :]}"
    text = text.replace("$", r"\$")  # else it begins a formula
    return f" {text}" if text.startswith("_") else text  # matplotlib hides what begins with "_"


def metric_label(metric: str) -> str:
    """Return a comparison's metric as a label; the name of a modality stays as it is.

    Example:
        >>> metric_label("linear_probe RGB"), metric_label("ece")
        ('Linear probe RGB', 'ECE')
    """
    name, space, modality = metric.partition(" ")
    words = name.replace("_", " ")
    return shown(f"{_METRICS.get(name, words[:1].upper() + words[1:])}{space}{modality}")


_METRICS = {"ece": "ECE", "map": "mAP", "macro_f1": "Macro-F1", "flops_ratio": "FLOPs ratio"}
