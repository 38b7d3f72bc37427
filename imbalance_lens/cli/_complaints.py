"""Any exception as one sentence."""

from __future__ import annotations

import re
import sysconfig
import textwrap
import traceback
from pathlib import Path

from ..errors import ImbalanceLensError

_LIBRARY = Path(__file__).parents[1]
_OURS = (_LIBRARY, _LIBRARY.with_name("recipes"), Path(sysconfig.get_path("stdlib")))
"""Also where Python's own library lies: no place in these is the user's."""
_INSTALLED = {"site-packages", "dist-packages"}
_FROM_WORKER = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_LONGEST = 500

Place = tuple[str, int]
"""File and line."""


def complaint(error: Exception) -> str:
    """Return what to tell the user of an exception.

    The library's own errors speak for themselves, and so does the system about files. Any other
    one came out of code that the user gave, most likely, so the sentence names its line there.
    """
    notes = getattr(error, "__notes__", ())
    if isinstance(error, ImbalanceLensError):
        return " ".join([str(error), *notes])
    place = _users(_places(error))
    if place is None and isinstance(error, OSError):
        return _about_file(error)
    file, line = place or _places(error)[-1]
    return (
        f"{_shortened(Path(file))}:{line} raised {type(error).__name__}: "
        f"{' '.join([_message(error), *notes])} "
        "(imbalance-lens --debug COMMAND shows the traceback.)"
    )


def _places(error: Exception) -> list[Place]:
    """Return the lines that the exception came through, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [(frame.filename, frame.lineno or 0) for frame in frames]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno or 0))
    # A DataLoader's worker writes its own traceback into the message.
    told = _FROM_WORKER.finditer(str(error))
    return places + [(found["file"], int(found["line"])) for found in told]


def _users(places: list[Place]) -> Place | None:
    """Return the innermost place that is neither ours nor installed."""
    return next((place for place in reversed(places) if _is_users(place[0])), None)


def _is_users(file: str) -> bool:
    path = Path(file)
    if file.startswith("<") or _INSTALLED & set(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in _OURS)


def _about_file(error: OSError) -> str:
    if error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}."
    return error.strerror or str(error)


def _message(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    said = str(error)
    if _FROM_WORKER.search(said):
        said = said.strip().rpartition("\n")[2].partition(": ")[2]
    return textwrap.shorten(said, _LONGEST, placeholder=" ...") or "no message"


def _shortened(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
