"""A folder with a user's model, and a way to give it commands."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from click.testing import CliRunner

from imbalance_lens.cli import main
from imbalance_lens.testing import planted

MINE = """\
from imbalance_lens.testing import planted


def build():
    print("building")
    return planted("audio")[0]


def data():
    return planted("audio")[1]


loader = data()
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """What an error said, which is all that there is."""
        assert self.code == 1
        assert self.out == ""
        assert "Traceback" not in self.err
        said = [line for line in self.err.splitlines() if line != "building"]
        assert said[0].startswith("Error: ")
        return "\n".join(said).removeprefix("Error: ")


Ask = Callable[..., Said]


@pytest.fixture
def ask() -> Ask:
    def asked(*words: object) -> Said:
        result = CliRunner().invoke(main, [str(word) for word in words])
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return asked


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a model in `mine.py` and its weights in `run.pt`."""
    (tmp_path / "mine.py").write_text(MINE)
    torch.save(planted("visual")[0].state_dict(), tmp_path / "run.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]
