"""The page on training does as it says: its code is run."""

from typing import Any

import pytest

from tests.documents import blocks


@pytest.mark.usefixtures("capsys")
def test_the_code_of_the_page_runs() -> None:
    codes = [block.text for block in blocks("docs/training.md") if block.language == "python"]
    assert len(codes) == 4
    known: dict[str, Any] = {"__name__": "page"}
    for code in codes:
        exec(compile(code, "training.md", "exec"), known)
