"""Numbers and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable

NOT_KNOWN = "-"
"""What stands for a number that was not measured."""


def percent(share: float) -> str:
    """Return a share as a percentage.

    Example:
        >>> percent(0.8604)
        '86.0 %'
    """
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """Return a difference of accuracies in percentage points.

    Example:
        >>> points(0.05)
        '5.0 points'
    """
    return f"{tenths(difference)} points"


def tenths(difference: float) -> str:
    """Return a difference times 100, without a negative zero.

    Example:
        >>> tenths(0.551), tenths(-0.00001)
        ('55.1', '0.0')
    """
    return f"{round(100 * difference, 1) + 0.0:.1f}"


def span(low: float, high: float) -> str:
    """Return an interval of differences, in percentage points.

    Example:
        >>> span(-0.012, 0.034)
        '-1.2 to 3.4'
    """
    return f"{tenths(low)} to {tenths(high)}"


def cost(drop: float) -> str:
    """Return what leaving something out does to the accuracy.

    Example:
        >>> cost(0.2), cost(-0.01), cost(0.0)
        ('costs 20.0 points', 'gains 1.0 points', 'costs nothing')
    """
    if math.isnan(drop):
        return "costs an unknown number of points"
    if tenths(drop) == "0.0":
        return "costs nothing"
    return f"costs {points(drop)}" if drop > 0 else f"gains {points(-drop)}"


def cost_span(drop: float, low: float, high: float) -> str:
    """Return the interval of what `cost` says: of the gain, where that is one.

    Example:
        >>> cost_span(0.01, -0.02, 0.03), cost_span(-0.01, -0.03, 0.02)
        ('-2.0 to 3.0', '-2.0 to 3.0')
    """
    return span(-high, -low) if cost(drop).startswith("gains") else span(low, high)


def few(value: float) -> str:
    """Return a number in a few digits.

    Example:
        >>> few(3.14159), few(0.0), few(1e-7), few(float("inf"))
        ('3.14', '0', '1e-07', 'infinitely many')
    """
    return "infinitely many" if value == math.inf else f"{value:.3g}"


def filled(fill: str) -> str:
    """Return what was done to the features of absent modalities.

    Example:
        >>> filled("mean")
        'set to the mean of the batch'
    """
    return _FILLED.get(fill, f"filled with {fill!r}")


_FILLED = {
    "zero": "set to zero",
    "mean": "set to the mean of the batch",
    "permute": "taken from another example",
    "input": "computed from a zero input",
}


def count(how_many: int, what: str, several: str = "") -> str:
    """Return a number of things, in the singular where it is one.

    Args:
        how_many: the number.
        what: the word for one.
        several: the word for more, where that is not one with an s.

    Example:
        >>> count(1, "example"), count(1200, "example"), count(2, "batch", "batches")
        ('1 example', '1,200 examples', '2 batches')
    """
    return f"{how_many:,} {what if how_many == 1 else several or f'{what}s'}"


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence.

    Example:
        >>> listed(["audio", "text", "visual"])
        'audio, text and visual'
    """
    *first, last = map(shown, names)
    return f"{', '.join(first)} and {last}" if first else last


def shown(name: str) -> str:
    r"""Return a name so that it takes one line: what cannot be printed is escaped.

    Example:
        >>> shown("audio\n")
        'audio\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def one_line(sentence: str) -> str:
    r"""Return someone's sentence so that it takes one line.

    Example:
        >>> one_line("no\n  answer")
        'no answer'
    """
    return shown(" ".join(sentence.split()))


def shortened(name: str, width: int) -> str:
    """Return a name that is no longer than `width`; the middle goes, for ends tell names apart.

    Example:
        >>> shortened("left_front_camera", 11)
        'left...mera'
    """
    name = shown(name)
    if len(name) <= width:
        return name
    tail = (width - 3) // 2
    return f"{name[: width - 3 - tail]}...{name[len(name) - tail :]}"
