"""Every probe's page does as it says: its code is run, and it names what the probe answers."""

import re

import pytest

from imbalance_lens.probes import PROBES
from tests.documents import REPOSITORY, blocks

from .contract import observed
from .world import World

PAGES = sorted((REPOSITORY / "docs" / "probes").glob("*.md"))
WITH_TABLES = (
    "agreement",
    "calibration",
    "emap",
    "integrated_gradients",
    "linear_probe",
    "missing_modality",
    "permutation",
    "shapley",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = [b.text for b in blocks(str(page.relative_to(REPOSITORY))) if b.language == "python"]
    assert codes
    known: dict = {"__name__": "__main__"}
    for code in codes:
        exec(compile(code, page.name, "exec"), known)


@pytest.mark.parametrize("name", WITH_TABLES)
def test_a_page_names_every_variable_and_no_other(name):
    page = (REPOSITORY / "docs" / "probes" / f"{name}.md").read_text()
    table = page.partition("## The answer")[2].partition("\n\n`")[0].partition("\n\n## ")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| ")]
    named = {word for cell in first for word in re.findall(r"`(\w+)`", cell)}
    suffixes = ("_interval", "_by_draw", "_std")
    answered = set(map(str, observed(PROBES.get(name), World().history()).result().data_vars))
    plain = {answer for answer in answered if not answer.endswith(suffixes)}
    assert plain <= named
    assert {word for word in named if word not in suffixes} <= answered
