"""The tables of all probes and of all recipes, which the README has, on pages of their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_README = Path(__file__).parents[2] / "README.md"
_PLACE = "<!-- the table of the README -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the table of the folder where the page wants it."""
    folder = Path(page.file.src_uri).parent.as_posix()
    return markdown.replace(_PLACE, table(folder)) if _PLACE in markdown else markdown


def table(folder: str) -> str:
    """Return the README's table of the pages in a folder of the docs, as a page in it has it."""
    rows = rf"(?:^\|.*\n){{2}}(?:^\| \[`\w+`\]\(docs/{folder}/.*\n)+"
    (found,) = re.findall(rows, _README.read_text(), re.MULTILINE)
    return found.replace(f"](docs/{folder}/", "](")
