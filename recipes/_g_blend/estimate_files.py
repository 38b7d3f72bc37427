"""Where an estimate that is interrupted finds what it had finished."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbalance_lens.errors import CheckpointError
from imbalance_lens.files import made_folder, replacing

if TYPE_CHECKING:
    import xarray as xr


class EstimateFile:
    """The finished heads of one estimate.

    Args:
        folder: where the file is; it is made where the folder around it exists.
        epoch: in which the estimate is made; each has a file of its own.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], epoch: int) -> None:
        self.path: Path = made_folder(folder) / f"estimate-{epoch:06d}.json"
        self._content: dict[str, Any] = {}

    def finished(self, fingerprint: str) -> dict[str, xr.Dataset]:
        """Return what is known of each finished head; none where the file is of another estimate.

        Args:
            fingerprint: of the weights and settings that the estimate starts from.

        Raises:
            CheckpointError: the file is damaged.
        """
        import xarray as xr

        self._content = {"fingerprint": fingerprint, "heads": {}}
        if not self.path.is_file():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["fingerprint"] != fingerprint:
                return {}
            heads = {name: xr.Dataset.from_dict(kept) for name, kept in content["heads"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.path} is damaged, or no estimate of 'g_blend'. Remove it, and the estimate "
                "starts anew."
            ) from error
        self._content = content
        return heads

    def add(self, head: str, found: xr.Dataset) -> None:
        """Keep what was found of a head.

        Raises:
            OSError: the disk is full, or the like; the file is as it was.
        """
        self._content["heads"][head] = found.to_dict()
        with replacing(self.path) as draft:
            draft.write_text(json.dumps(self._content), encoding="utf-8")
