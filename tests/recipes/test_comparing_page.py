"""The page on comparing does as it says: its code is run, and its metrics are those there are."""

import re
from typing import Any

import pytest

from tests.documents import REPOSITORY, blocks


@pytest.mark.usefixtures("capsys")
def test_the_code_of_the_page_runs_and_its_metrics_are_all() -> None:
    codes = [block.text for block in blocks("docs/comparing.md") if block.language == "python"]
    assert len(codes) == 4
    known: dict[str, Any] = {"__name__": "page"}
    for code in codes:
        exec(compile(code, "comparing.md", "exec"), known)
    rows = re.findall(r"^\| (`.+?`) \|", (REPOSITORY / "docs/comparing.md").read_text(), re.M)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    metrics = [str(name) for name in known["found"].dataset["metric"].values]
    assert named == list(dict.fromkeys(re.sub(" .+", " M", name) for name in metrics))
