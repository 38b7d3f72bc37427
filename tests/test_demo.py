"""The demo: what it trains, what it finds in that, and what it leaves behind."""

import time
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
import torch
import xarray as xr
from click.testing import CliRunner

from imbalance_lens import Report, demo, load_report, load_weights
from imbalance_lens.cli import main
from imbalance_lens.models import LateFusion
from imbalance_lens.report import Verdict

from .documents import REPOSITORY, blocks, reads_like


class Shown(NamedTuple):
    report: Report
    text: str
    out: Path
    seconds: float


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    out = tmp_path_factory.mktemp("demo") / "deep" / "down"
    said: list[str] = []
    start = time.process_time()
    report = demo.run(out, say=said.append)
    return Shown(report, "\n".join(said), out, time.process_time() - start)


def parts_of(svg: Path) -> dict[str, int]:
    """How many axes and legends a figure of matplotlib has."""
    names = [one.get("id", "").partition("_")[0] for one in ElementTree.parse(svg).iter()]
    return {part: names.count(part) for part in ("axes", "legend", "subfigure")}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 1)


@pytest.mark.slow
def test_one_modality_dominates_and_the_report_says_which(shown: Shown):
    finding = shown.report.findings[0]
    assert (finding.rule, finding.verdict, finding.modality) == (
        "dominance",
        Verdict.YES,
        "visual",
    )
    joint = shown.report.tree["zero_out"]["accuracy"].sel(coalition="audio+visual")
    assert joint > 0.9


@pytest.mark.slow
def test_the_other_modality_could_have_done_better(shown: Shown):
    audio = shown.report.tree["zero_out"]["alone"].sel(modality="audio").item()
    assert f"Inside the model it gets {100 * audio:.1f} % right on its own." in shown.text
    alone = float(shown.text.split("the same encoder gets ")[1].split(" %")[0]) / 100
    assert alone > audio + 0.2


@pytest.mark.slow
def test_who_is_who_is_found_without_a_hint(shown: Shown):
    assert shown.text.startswith("audio\n  encoder     encoders.audio\n")
    assert shown.report.anatomy["encoders"] == {
        "audio": "encoders.audio",
        "visual": "encoders.visual",
    }


@pytest.mark.slow
def test_all_files_can_be_read(shown: Shown):
    names = {path.name for path in shown.out.iterdir()}
    assert names == {"checkpoint.pt", "report.nc", "figure.svg"}
    loaded = load_report(shown.out / "report.nc")
    xr.testing.assert_identical(loaded.tree, shown.report.tree)
    weights = load_weights(shown.out / "checkpoint.pt")
    LateFusion.small(["audio", "visual"], classes=10).load_state_dict(weights)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_first_page_shows_what_it_prints(page: str, shown: Shown):
    (block,) = (b for b in blocks(page) if b.noted("printed by") == "imbalance-lens demo")
    assert reads_like(shown.text.replace(str(shown.out), "out/demo"), block.text)


def test_the_readme_shows_the_figure_that_it_draws(short: None, tmp_path: Path):
    demo.run(tmp_path, say=lambda _: None)
    drawn, kept = tmp_path / demo.PICTURE, REPOSITORY / "docs/images/demo.svg"
    assert f"]({kept.relative_to(REPOSITORY)})" in (REPOSITORY / "README.md").read_text()
    assert kept.stat().st_size < 150_000
    assert parts_of(drawn) == parts_of(kept) == {"axes": 2, "legend": 2, "subfigure": 2}


@pytest.mark.slow
def test_it_is_done_in_less_than_two_minutes_of_a_core(shown: Shown):
    assert shown.seconds < 120


def test_the_same_training_gives_the_same_weights_and_leaves_no_trace(short: None):
    threads, random = torch.get_num_threads(), torch.random.get_rng_state()
    first, second = (demo.trained("visual").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_command_writes_where_it_is_told_and_says_so(short: None, tmp_path: Path):
    done = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "here")])
    assert done.exit_code == 0
    assert f"In {tmp_path / 'here'}: checkpoint.pt, the weights" in done.stdout
    assert (tmp_path / "here" / "report.nc").is_file()


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path):
    (tmp_path / "here").write_text("")
    done = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "here")])
    assert (done.exit_code, done.stderr) == (1, f"Error: {tmp_path / 'here'}: File exists.\n")
