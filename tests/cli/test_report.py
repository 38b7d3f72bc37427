"""`imbalance-lens report` and `imbalance-lens probes`."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from imbalance_lens import diagnose
from imbalance_lens.cli import _drawn
from imbalance_lens.cli._drawn import drawn
from imbalance_lens.observer import unasked_probes
from imbalance_lens.probes import PROBES
from imbalance_lens.report import load_report
from imbalance_lens.testing import planted

from .conftest import Ask
from .test_group import ENVIRONMENT


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    diagnose(*planted("visual")).save(tmp_path / "report.nc")
    return tmp_path / "report.nc"


def test_a_saved_report_is_printed(ask: Ask, saved: Path):
    said = ask("report", saved)
    assert said.out == f"{diagnose(*planted('visual'))}\n"
    assert max(map(len, said.out.splitlines())) <= 80


def test_json_has_the_findings(ask: Ask, saved: Path):
    answer = json.loads(ask("report", saved, "--json").out)
    assert (answer["findings"][0]["rule"], answer["findings"][0]["modality"]) == (
        "dominance",
        "visual",
    )


def test_a_page_is_saved_beside_what_is_printed(ask: Ask, saved: Path, tmp_path: Path):
    said = ask("report", saved, "--html", tmp_path / "report.html")
    assert said.out == ask("report", saved).out
    assert said.err == f"Saved {tmp_path / 'report.html'}.\n"
    page = (tmp_path / "report.html").read_text()
    assert "visual dominates" in page
    assert "<table" in page
    assert "<figcaption>The accuracy with each modality alone" in page
    json.loads(ask("report", saved, "--html", tmp_path / "report.html", "--json").out)


def test_a_page_that_cannot_be_written(ask: Ask, saved: Path, tmp_path: Path):
    assert "is a folder" in ask("report", saved, "--html", tmp_path).sentence()
    assert [path.name for path in tmp_path.iterdir()] == ["report.nc"]


def test_figures_that_leave_no_room_for_tables_are_left_out(saved: Path, monkeypatch):
    tree = load_report(saved).tree
    everything = drawn(tree)
    assert sum(map(len, everything.values())) <= _drawn.ROOM
    smallest = min(everything.values(), key=len)
    monkeypatch.setattr(_drawn, "ROOM", len(smallest))
    assert [*drawn(tree).values()] == [smallest]


def test_a_report_needs_no_torch(saved: Path):
    code = f"""
import sys
sys.modules["torch"] = None
from imbalance_lens.cli import main
main(["report", {str(saved)!r}, "--html", {str(saved.with_suffix(".html"))!r}])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert "visual dominates" in done.stdout


def test_a_report_that_is_not_there(ask: Ask, tmp_path: Path):
    said = ask("report", tmp_path / "no.nc")
    assert said.sentence().startswith(f"{tmp_path / 'no.nc'} cannot be read as a report")


def test_a_file_that_is_no_report(ask: Ask, tmp_path: Path):
    (tmp_path / "notes.nc").write_text("bread, milk")
    assert "is no netCDF file" in ask("report", tmp_path / "notes.nc").sentence()


def test_every_probe_has_its_line(ask: Ask):
    said = ask("probes")
    assert max(map(len, said.out.splitlines())) <= 80
    for name in PROBES.names():
        first = (inspect.getdoc(PROBES.get(name)) or "").splitlines()[0]
        assert f"{name} {first}" in " ".join(said.out.split())


def test_the_probes_that_run_only_when_named_are_marked(ask: Ask):
    answer = json.loads(ask("probes", "--json").out)
    assert set(answer) == set(PROBES.names())
    costly = {name for name, about in answer.items() if about["only_when_named"]}
    assert costly == set(unasked_probes())
    assert ask("probes").out.count("named.") == len(costly)
