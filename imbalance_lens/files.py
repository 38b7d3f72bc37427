"""Writing files so that nothing is lost."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty file beside `path`, and put it in `path`'s place only when the block succeeds.

    After an error (a full disk among them) the old file is as it was and the new one is gone. A
    link stays a link, and a file keeps its permissions.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: the file cannot be written; the message names it.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with replacing(folder / "numbers.txt") as draft:
        ...     _ = draft.write_text("1 2 3")
        >>> (folder / "numbers.txt").read_text()
        '1 2 3'
    """
    target = Path(path).resolve()
    with _draft_of(target) as draft:
        if target.exists():
            shutil.copymode(target, draft)
        yield draft
        with draft.open("r+b") as written:
            os.fsync(written.fileno())
        draft.replace(target)


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Complain now, before work that takes long, where `replacing` would complain after it.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    with _draft_of(Path(path).resolve()):
        pass


def made_folder(path: str | os.PathLike[str]) -> Path:
    """Return a folder, which is made where the one around it exists.

    Raises:
        OSError: it cannot be made; the message names it.
    """
    folder = Path(path).resolve()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file. Give the path of a folder.")
    _check_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    return folder


def remove_drafts(folder: Path) -> None:
    """Remove what killed processes have left of `replacing` in a folder nobody else writes to."""
    for draft in folder.glob(f".{'[0-9a-f]' * 2 * _TOKEN_BYTES}.part"):
        draft.unlink(missing_ok=True)


_TOKEN_BYTES = 8


@contextmanager
def _draft_of(target: Path) -> Iterator[Path]:
    """Give an empty file beside `target` that is gone afterwards."""
    _check(target)
    draft = target.with_name(f".{secrets.token_hex(_TOKEN_BYTES)}.part")
    try:
        # Not tempfile: it would ignore the umask, which must not be asked for among threads.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield draft
    except OSError as error:
        raise _told(error, target) from error
    finally:
        draft.unlink(missing_ok=True)


def _check(target: Path) -> None:
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder. Give the path of a file.")
    if target.exists() and not target.is_file():
        raise OSError(f"{target} is a device or a pipe. Give the path of a file.")
    _check_folder(target.parent)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {folder} does not exist. Make it first.")


def _told(error: OSError, target: Path) -> OSError:
    message = (
        f"{target} could not be written ({error.strerror or error}); "
        "what was there before is unchanged. Free some space or choose another place."
    )
    return OSError(error.errno, message) if error.errno else OSError(message)
