import re

import pytest

from imbalance_lens.figures import FIGURES
from tests.documents import REPOSITORY, blocks

PAGE = "docs/figures.md"
MAPS = ("feature_maps", "filters")


def test_the_page_lists_every_figure_with_what_it_answers():
    text = (REPOSITORY / PAGE).read_text()
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", text, re.M)
    assert rows == [(name, FIGURES.get(name).answers) for name in FIGURES.names()]


def test_the_code_of_the_page_runs(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shared: dict[str, object] = {}
    for block in blocks(PAGE):
        exec(compile(block.text, PAGE, "exec"), shared)
    drawn = ["zero_out", "overview", "linear_probe_curves", "coefficient_ratio", *MAPS]
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.pdf" for name in drawn}
