import re
from pathlib import Path

from imbalance_lens.report import THRESHOLDS
from imbalance_lens.report.recommend import _TABLE
from imbalance_lens.report.rules import RULES

TEXT = (Path(__file__).parents[2] / "docs" / "findings.md").read_text()


def table_under(heading):
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in row] for row in rows[2:]]


def test_the_page_shows_every_threshold_as_it_is():
    shown = {name: (float(value), meaning) for name, value, meaning in table_under("Thresholds")}
    assert shown == {name: tuple(bound) for name, bound in THRESHOLDS.items()}


def test_the_page_shows_every_recommendation():
    shown = [tuple(row) for row in table_under("What may help")]
    assert shown == [(a.rule, a.recipe or "advice only", a.paper) for a in _TABLE]


def test_the_code_of_the_page_runs(capsys):
    names: dict = {}
    for code in re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S):
        exec(compile(code, "docs/findings.md", "exec"), names)
    assert "audio dominates" in capsys.readouterr().out


def test_the_page_explains_every_rule():
    explained = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^### .*$", TEXT, re.M))))
    names = {"note" if rule.__name__ == "notes" else rule.__name__ for rule in RULES}
    assert explained == names
