"""The page on contributing does as it says: its probe, its recipe and its figure work."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import imbalance_lens as lens
import recipes
from imbalance_lens import figures, probes
from imbalance_lens.testing import planted

from .documents import REPOSITORY
from .probes import contract

PAGE = "docs/contributing.md"
_FILE = re.compile(
    r"^ *<!-- file: (?P<path>\S+) -->\n *```python\n(?P<code>.*?)^ *```$", re.M | re.S
)
PACKAGES = {"imbalance_lens/probes": probes, "imbalance_lens/figures": figures, "recipes": recipes}


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of somebody who wrote the files of the page into a clone."""
    for block in _FILE.finditer((REPOSITORY / PAGE).read_text()):
        path = tmp_path / block["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(block["code"]))
    known = set(sys.modules)
    for folder, package in PACKAGES.items():
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / folder)])
    yield tmp_path
    for name in {
        name for name in set(sys.modules) - known if name.endswith(("log_loss", "halved"))
    }:
        package, _, last = name.rpartition(".")
        vars(sys.modules[package]).pop(last, None)
        del sys.modules[name]


def test_the_probe_is_found_and_keeps_what_all_promise(followed: Path):
    assert "log_loss" in probes.PROBES.names()
    for promise in contract.PROMISES:
        promise(probes.PROBES.get("log_loss"))


def test_the_recipe_is_found_and_the_figure_draws_what_the_probe_answers(followed: Path):
    assert "halved" in recipes.names()
    model, loader = planted("audio")
    found = lens.diagnose(model, loader, probes=["log_loss"]).tree["log_loss"].to_dataset()
    ax = figures.__getattr__("plot_log_loss")(found)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(found["log_loss"].values[:2])


@pytest.mark.parametrize("name", ["probes/test_log_loss.py", "recipes/test_halved.py"])
def test_the_tests_of_the_page_pass(name: str, followed: Path):
    code = (followed / "tests" / name).read_text()
    names: dict = {"__name__": "page"}
    exec(compile(code, name, "exec"), names)
    tests = [value for key, value in names.items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()
