"""Writing files so that nothing is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a new file beside `path`, and put it in `path`'s place only when the block succeeds.

    After an error (a full disk among them) the old file is as it was and the new one is gone.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder. Give the path of a file.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"The folder {target.parent} does not exist. Make it first.")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.chmod(0o666 & ~_umask())
        draft.replace(target)
    except OSError as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError):
            raise
        raise OSError(
            error.errno,
            f"{target} could not be written ({error.strerror or error}); "
            "what it held before is unchanged. Free some space or choose another place",
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
