"""Fetching, from a server on this machine."""

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from torchvision.datasets import MNIST

from imbalance_lens.datasets import AVMNIST, _download
from imbalance_lens.errors import DataError

from . import stand_in

pytest.importorskip("torchaudio")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve small stand-ins on this machine, under the addresses that the code knows."""
    served = tmp_path / "served"
    for part, count in (("train", 300), ("t10k", 200)):
        stand_in.write_images(served, part, count)
    top = served / "free-spoken-digit-dataset-1.0.10"
    stand_in.write_recordings(top / "recordings")
    (top / "README.md").write_text("What this is.")
    pack(served / "fsdd.zip", served, top)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        here = f"http://127.0.0.1:{server.server_port}"
        files = [(p.name, hashlib.md5(p.read_bytes()).hexdigest()) for p in served.glob("*.gz")]
        monkeypatch.setattr(MNIST, "mirrors", [f"{here}/"])
        monkeypatch.setattr(MNIST, "resources", files)
        monkeypatch.setattr(_download, "FSDD_URL", f"{here}/fsdd.zip")
        monkeypatch.setattr(_download, "ESC10_URL", f"{here}/esc10.zip")
        yield served
        server.shutdown()
        thread.join()


def pack(archive: Path, start: Path, top: Path) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(top.rglob("*")):
            file.write(path, path.relative_to(start))


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_missing_is_fetched(sources, tmp_path):
    root = tmp_path / "new" / "folder"
    test = AVMNIST("test", root=root, download=True)
    assert len(test) == 150
    assert test.image_ids.min() >= 300  # the official split: after the training images
    assert left_in(root) == {"MNIST", "fsdd"}
    assert {path.suffix for path in (root / "fsdd").rglob("*.*")} == {".wav"}


def test_what_is_there_is_not_fetched_again(sources, tmp_path):
    root = tmp_path / "root"
    first = AVMNIST("test", root=root, download=True)
    shutil.rmtree(sources)
    again = AVMNIST("test", root=root, download=True)
    assert again.sound_ids.tolist() == first.sound_ids.tolist()


def test_everyday_sounds_are_fetched_when_they_are_asked_for(sources, tmp_path):
    pytest.importorskip("soundfile")
    top = sources / "ESC-10-master"
    stand_in.write_clips(top)
    pack(sources / "esc10.zip", sources, top)
    root = tmp_path / "root"
    AVMNIST("test", root=root, audio_snr_db=0.0, noise="esc10", download=True)
    assert left_in(root) == {"MNIST", "fsdd", "esc10"}


def test_a_failing_network_is_told_and_leaves_nothing_half_done(sources, tmp_path):
    (sources / "fsdd.zip").unlink()
    root = tmp_path / "root"
    with pytest.raises(DataError, match=r"not fetch http:.*fsdd.zip .*404.* put the files"):
        AVMNIST("test", root=root, download=True)
    assert left_in(root) == {"MNIST"}


def test_a_failing_source_of_images_is_told(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:1/"])
    with pytest.raises(DataError, match=r"download=True could not fetch http://127.0.0.1:1/ "):
        AVMNIST("test", root=tmp_path / "root", download=True)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("top/notes.txt", "the archive holds no .wav file"),
        ("top/../../outside.wav", r"the archive names 'top/../../outside.wav', outside of itself"),
    ],
)
def test_another_archive_is_told_and_nothing_is_unpacked(sources, tmp_path, name, complaint):
    with zipfile.ZipFile(sources / "fsdd.zip", "w") as file:
        file.writestr(name, "text")
    root = tmp_path / "root"
    with pytest.raises(DataError, match=complaint):
        AVMNIST("test", root=root, download=True)
    assert left_in(root) == {"MNIST"}
    assert not list(tmp_path.rglob("outside.wav"))


def test_a_page_instead_of_an_archive_is_told(sources, tmp_path):
    (sources / "fsdd.zip").write_text("<html>moved</html>")
    with pytest.raises(DataError, match="File is not a zip file"):
        AVMNIST("test", root=tmp_path / "root", download=True)
