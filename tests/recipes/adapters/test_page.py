"""The page on loops of one's own does as it says: its code is run."""

from typing import Any

from tests.documents import blocks
from tests.recipes.adapters.loops import quiet


def test_the_code_of_the_page_runs() -> None:
    codes = [b.text for b in blocks("docs/own_loop.md") if b.language == "python"]
    assert len(codes) == 4
    known: dict[str, Any] = {"__name__": "__main__"}
    with quiet():
        for code in codes:
            exec(compile(code, "own_loop.md", "exec"), known)
