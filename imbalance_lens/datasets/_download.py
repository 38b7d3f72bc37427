"""Fetch the data of AVMNIST from where its authors keep it."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.request import urlopen

from ..errors import DataError
from ._mnist import has_training_images

FSDD_URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
ESC10_URL = "https://github.com/karolpiczak/ESC-10/archive/master.zip"
TIMEOUT_S = 60


def download_missing(folder: Path, *, with_esc10: bool) -> None:
    """Fetch into `folder` what is not there yet.

    Args:
        folder: made where it does not exist.
        with_esc10: whether ESC-10 is wanted too.

    Raises:
        DataError: a source could not be reached or gave something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not has_training_images(folder):
        _fetch_mnist(folder)
    if not (folder / "fsdd").exists():
        _fetch_archive(FSDD_URL, folder / "fsdd", ".wav")
    if with_esc10 and not (folder / "esc10").exists():
        _fetch_archive(ESC10_URL, folder / "esc10", ".ogg")


def _fetch_mnist(folder: Path) -> None:
    from torchvision.datasets import MNIST

    try:
        MNIST(folder, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise _failed(" or ".join(MNIST.mirrors), folder / "MNIST" / "raw", error) from error


def _fetch_archive(url: str, target: Path, ending: str) -> None:
    """Unpack a zip archive's files of one kind, without its top folder, into a new folder.

    The folder appears only when everything is in it.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as draft:
        try:
            with (
                urlopen(url, timeout=TIMEOUT_S) as answer,
                tempfile.TemporaryFile(dir=draft) as archive,
            ):
                shutil.copyfileobj(answer, archive)
                unpacked = _unpack(zipfile.ZipFile(archive), Path(draft, "unpacked"), ending)
        except (OSError, HTTPException, zipfile.BadZipFile) as error:
            if isinstance(error, HTTPError):
                error.close()
            raise _failed(url, target, error) from error
        unpacked.rename(target)


def _unpack(archive: zipfile.ZipFile, target: Path, ending: str) -> Path:
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if not names:
        raise zipfile.BadZipFile(f"the archive holds no {ending} file")
    for name in names:
        parts = PurePosixPath(name).parts[1:]
        if ".." in parts:
            raise zipfile.BadZipFile(f"the archive names {name!r}, outside of itself")
        path = target.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as packed, path.open("wb") as file:
            shutil.copyfileobj(packed, file)
    return target


def _failed(url: str, target: Path, error: Exception) -> DataError:
    return DataError(
        f"download=True could not fetch {url} ({error}). Try again with a network, or fetch it "
        f"yourself and put the files into {target}."
    )
