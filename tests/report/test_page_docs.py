"""The page on the HTML report does what it says."""

import re
from pathlib import Path

from tests.documents import blocks


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("docs/report.md"):
        exec(compile(block.text, "docs/report.md", "exec"), names)
    assert "<rect" in Path("report.html").read_text()


def test_the_parts_are_those_of_the_page(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    table = text.split("## What is on it\n")[1].split("\n## ")[0]
    told = re.findall(r"^\| ([^|]+?) \|", table, re.M)[1:]
    template = Path(__file__).parents[2] / "imbalance_lens" / "report" / "templates" / "page.html"
    assert told == re.findall(r"<h2>(.*?)</h2>", template.read_text())
