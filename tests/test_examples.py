"""The examples run on the real data, as their users would run them."""

import subprocess
import sys
from pathlib import Path

import pytest

import imbalance_lens as lens

from .data_folder import FOLDER, require

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_of_six_views_are_diagnosed() -> None:
    file = require("multiview/handwritten.mat")
    shown = run("three_views.py", file, "--epochs", 3)
    for view in ("pixels", "profiles", "karhunen"):
        assert f"nets.{view}" in shown
    assert "Report on Views, 1,000 examples" in shown


@pytest.mark.slow
def test_the_verdict_on_av_mnist_follows_the_data(tmp_path: Path) -> None:
    pytest.importorskip("torchaudio", reason="the extra `audio` is not installed")
    require("mnist"), require("fsdd")
    hard = "sound at -10 dB, 25 % visual energy"
    shown = run("av_mnist.py", "--root", FOLDER, "--out", tmp_path, "--epochs", 1, "--only", hard)
    assert hard in shown
    report = lens.load_report(tmp_path / "2.nc")
    alone = report.tree["zero_out"]["alone"]
    assert alone.sel(modality="visual") > alone.sel(modality="audio")
