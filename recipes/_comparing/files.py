"""Where a comparison that is interrupted finds the runs that it had finished."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbalance_lens.errors import CheckpointError
from imbalance_lens.files import made_folder, remove_drafts, replacing
from imbalance_lens.schema import to_json

from .protocol import short_hash

FORMAT = 1


class RunFiles:
    """One file for each finished run; in memory only, where there is no folder.

    Args:
        folder: where they are; it is made where the folder around it exists.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = None if folder is None else made_folder(folder)
        if self._folder is not None:
            remove_drafts(self._folder)

    def load(self, recipe: Any, run: str, protocol: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what was found in a run, or None where it was not finished.

        Args:
            recipe: the recipe and its settings, in plain values.
            run: which of its runs.
            protocol: what has to be the same for runs to go together.

        Raises:
            CheckpointError: the file is damaged, or of another comparison.
        """
        file = self._file(recipe, run)
        if file is None or not file.is_file():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            was, found, version = content["protocol"], content["found"], content["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{file} is damaged, or no run of a comparison. Remove it, and the run is done "
                "again."
            ) from error
        now = json.loads(to_json({**protocol, "format": FORMAT}))
        changed = sorted(_changes({**was, "format": version}, now))
        if changed:
            raise CheckpointError(
                f"{file} is of another comparison: {'; '.join(changed)}. Give another folder, or "
                "remove what is in this one."
            )
        return found

    def save(
        self, recipe: Any, run: str, protocol: Mapping[str, Any], found: Mapping[str, Any]
    ) -> None:
        """Keep what was found in a run.

        Raises:
            OSError: the disk is full, or the like.
        """
        file = self._file(recipe, run)
        if file is None:
            return
        content = {"format": FORMAT, "recipe": recipe, "protocol": protocol, "found": found}
        with replacing(file) as draft:
            draft.write_text(to_json(content), encoding="utf-8")

    def _file(self, recipe: Any, run: str) -> Path | None:
        if self._folder is None:
            return None
        text = to_json(recipe)
        names = "+".join(re.sub(r"\W", "_", each["recipe"]) for each in recipe)
        return self._folder / f"{names}-{short_hash(text)}-{run}.json"


def _changes(was: Any, now: Any, path: str = "") -> list[str]:
    """Return what is different, each with its path."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        keys = dict.fromkeys([*was, *now])
        inner = [
            _changes(was.get(k, _ABSENT), now.get(k, _ABSENT), f"{path} {k}".strip()) for k in keys
        ]
        return [change for changes in inner for change in changes]
    return [] if was == now else [f"{path} was {_shown(was)} and is {_shown(now)}"]


def _shown(value: Any) -> str:
    return "not there" if value is _ABSENT else repr(value)


_ABSENT = object()
