"""What an interrupted training needs to go on: written so that a kill at any moment loses little.

A checkpoint is a pair of files with a running number: `000007.safetensors`, the weights, and
`000007.pt`, the state, which is written last and makes the pair complete.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from imbalance_lens import checks
from imbalance_lens.errors import CheckpointError
from imbalance_lens.files import made_folder, remove_drafts, replacing

from .storable import plain, serialized

FORMAT = 1
"""Version of the files; others are refused."""

KEPT = 2
"""Number of checkpoints that stay."""


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint holds.

    Attributes:
        step: optimizer steps that were done.
        weights: name -> tensor, on the CPU.
        state: what was saved beside them; tensors are on the CPU.
    """

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]


class Checkpoints:
    """The last checkpoints of one training, in a folder of its own; only one rank may write.

    Args:
        folder: where they are; it is made where the folder around it exists.
        fingerprint: what has to be the same when the training goes on: texts, numbers, and
            dictionaries and lists of such.

    Raises:
        OSError: the folder cannot be made.
        CheckpointError: it has files of others, under names that are used here.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: Mapping[str, Any]) -> None:
        self.folder = made_folder(folder)
        self._fingerprint = plain(fingerprint, "fingerprint")
        self._loaded: int | None = None
        self._refuse_strangers()

    def save(self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, and then remove all but the newest two.

        Args:
            step: optimizer steps that were done.
            weights: name -> tensor, as `state_dict` gives them.
            state: texts, numbers, None, tensors and arrays in dictionaries, lists and tuples.

        Raises:
            SettingError: the state holds something else.
            OSError: the disk is full, or the like; older checkpoints are as they were.
        """
        kept = plain(state, "state")
        remove_drafts(self.folder)
        before = self._complete()
        number = max(before, default=0) + 1
        stored = serialized(weights, _NOTE)
        content = {
            "format": FORMAT,
            "step": step,
            "sha256": hashlib.sha256(stored).hexdigest(),
            "fingerprint": self._fingerprint,
            "state": kept,
        }
        _write(self._file(number, "safetensors"), stored)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        _write(self._file(number, "pt"), buffer.getbuffer())
        if self._loaded is not None:  # those after it were damaged, or given up
            before = [old for old in before if old <= self._loaded]
        self._loaded = None if self._loaded is None else number
        self._remove_all_but([number, *before[: KEPT - 1]])

    def load(self, which: str = "latest") -> Loaded | None:
        """Return a checkpoint, or None where the folder holds none.

        Args:
            which: "latest", or "previous" for the one before it.

        Raises:
            CheckpointError: it is damaged, not of this library, or of another training.
        """
        checks.one_of("which", which, ("latest", "previous"))
        numbers = self._complete()
        if not numbers:
            return None
        place = ("latest", "previous").index(which)
        if place >= len(numbers):
            raise CheckpointError(
                f"{self.folder} holds one checkpoint and none before it. Start anew with "
                "resume=False, or use the one there is with resume=True."
            )
        number = numbers[place]
        older = place == 0 and len(numbers) > 1
        content = self._content(number, older=older)
        self._check_fingerprint(content["fingerprint"])
        weights = self._weights(number, content["sha256"], older=older)
        self._loaded = number
        return Loaded(content["step"], weights, content["state"])

    def save_best(self, weights: Mapping[str, Tensor]) -> None:
        """Write the best weights so far in place of earlier ones."""
        _write(self._best, serialized(weights, _NOTE))

    def load_best(self) -> dict[str, Tensor] | None:
        """Return the best weights so far, or None where there are none.

        Raises:
            CheckpointError: their file is damaged.
        """
        if not self._best.is_file():
            return None
        try:
            return load_file(self._best)
        except (SafetensorError, OSError) as error:
            raise _unusable(self._best, "cut short or damaged", older=False) from error

    @property
    def _best(self) -> Path:
        return self.folder / "best.safetensors"

    def _file(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:06d}.{suffix}"

    def _complete(self) -> list[int]:
        """Return the numbers of all complete checkpoints, the newest first."""
        names = (_NUMBERED.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted((int(n["number"]) for n in names if n and n["suffix"] == "pt"), reverse=True)

    def _remove_all_but(self, numbers: list[int]) -> None:
        # States before weights: what has a state is complete.
        for path in sorted(self.folder.iterdir()):
            name = _NUMBERED.fullmatch(path.name)
            if name and int(name["number"]) not in numbers:
                path.unlink(missing_ok=True)

    def _content(self, number: int, *, older: bool) -> dict[str, Any]:
        file = self._file(number, "pt")
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # PyTorch reads on where a bit has flipped
            if damaged is not None:
                raise _unusable(file, "damaged", older=older)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except CheckpointError:
            raise
        except Exception as error:  # what a damaged or a foreign pickle raises has no bounds
            reason = "cut short, damaged, or holds objects whose reading could run code"
            raise _unusable(file, reason, older=older) from error
        version = content.get("format") if isinstance(content, dict) else None
        if version is None or not content.keys() >= {"step", "sha256", "fingerprint", "state"}:
            raise _unusable(file, "no state of a training", older=older)
        if version != FORMAT:
            reason = f"of format {version}, and this version of the library reads {FORMAT},"
            raise _unusable(file, reason, older=older)
        return content

    def _weights(self, number: int, digest: str, *, older: bool) -> dict[str, Tensor]:
        file = self._file(number, "safetensors")
        if not file.is_file():
            raise _unusable(file, "missing", older=older)
        if _digest(file) != digest:
            raise _unusable(file, "cut short, damaged, or of another checkpoint", older=older)
        return load_file(file)

    def _refuse_strangers(self) -> None:
        for file in sorted(self.folder.iterdir()):
            named = file == self._best or _NUMBERED.fullmatch(file.name)
            if named and not _is_ours(file):
                raise CheckpointError(
                    f"{file} is no checkpoint of this library, and would be overwritten or "
                    "removed. Keep the checkpoints in a folder of their own."
                )

    def _check_fingerprint(self, was: Mapping[str, Any]) -> None:
        now = self._fingerprint
        changed = [
            f"{name} was {_shown(was, name)} and is {_shown(now, name)}"
            for name in dict.fromkeys([*was, *now])
            if _shown(was, name) != _shown(now, name)
            and not (name in was and name in now and was[name] == now[name])
        ]
        if changed:
            raise CheckpointError(
                f"The checkpoints in {self.folder} are of another training: {'; '.join(changed)}. "
                "Give what it had then, or another folder, or start anew with resume=False."
            )


def random_states() -> dict[str, Any]:
    """Return the global random states of Python, NumPy and PyTorch as plain values and tensors."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        "numpy": plain(numpy, "numpy"),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def set_random_states(state: Mapping[str, Any]) -> None:
    """Take over what `random_states` gave; the states of GPUs that are not here are left out."""
    random.setstate(state["python"])
    numpy = {**state["numpy"], "state": dict(state["numpy"]["state"])}
    numpy["state"]["key"] = numpy["state"]["key"].numpy()
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        for device, then in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(then, device)


_NOTE = {"made by": "a training of imbalance-lens"}
_NUMBERED = re.compile(r"(?P<number>\d{6,})\.(?P<suffix>pt|safetensors)")


def _write(file: Path, content: bytes | memoryview) -> None:
    # Not by the libraries' own writers: on a full disk, what they raise does not say so.
    with replacing(file) as draft:
        draft.write_bytes(content)


def _is_ours(file: Path) -> bool:
    """Say whether a training wrote a file; weights that cannot be read may be cut short."""
    weights = file.with_suffix(".safetensors")
    if weights.is_file():
        try:
            with safe_open(weights, "pt") as opened:
                return (opened.metadata() or {}).items() >= _NOTE.items()
        except (SafetensorError, OSError):
            return True
    try:
        return "fingerprint" in torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # what a damaged or a foreign pickle raises has no bounds
        return False


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _shown(fingerprint: Mapping[str, Any], name: str) -> str:
    return repr(fingerprint[name]) if name in fingerprint else "not there"


def _unusable(file: Path, reason: str, *, older: bool) -> CheckpointError:
    way = 'resume="previous" uses the checkpoint before it' if older else "There is none before it"
    return CheckpointError(f"{file} is {reason}. {way}; resume=False starts anew.")
