"""Tutorials: the scripts of `examples/tutorials`, run when the pages are built.

A script is made of cells: `# %% [markdown]` begins a text in comments, `# %%` begins code. Each is
run as it is, as a process of its own in an empty folder, with warnings as errors; what a cell
prints is shown below it. A script saves its figures in `out/<name of the script>`; those that its
text links to become part of the site. A script that fails, fails the build.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

SCRIPTS = Path(__file__).parents[2] / "examples" / "tutorials"
SECTION = "tutorials"

_MARK = r"^# %%( \[markdown\])?$"
_CELL = re.compile(rf"{_MARK}(?P<body>.*?)(?={_MARK}|\Z)", re.M | re.S)
_COMMENT = re.compile(r"^# ?", re.M)
_LINK = re.compile(r"\]\((?P<path>out/[^)#\s]+)")
_CELL_LINE = re.compile(_MARK, re.M)
_NEXT_CELL = "\0"
# They run side by side on the cores, and are to come out alike wherever the pages are built.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONIOENCODING": "utf-8"}
_TELL = f"print({_NEXT_CELL!r}, end='', flush=True)"


class Ran(NamedTuple):
    """A script that was run: its page, and the files that the page links to."""

    markdown: str
    files: Mapping[str, bytes]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each script, the script itself, and what it saved."""
    scripts = sorted(SCRIPTS.glob("*.py"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pages = list(pool.map(lambda script: ran(script.name, script.read_text()), scripts))
    for script, page in zip(scripts, pages, strict=True):
        texts = {f"{script.stem}.md": page.markdown, script.name: script.read_text()}
        for path, content in (*texts.items(), *page.files.items()):
            files.append(File.generated(config, f"{SECTION}/{path}", content=content))
    return files


@cache  # `mkdocs serve` builds again at every change of any page
def ran(name: str, script: str) -> Ran:
    """Run a script and return its page.

    Raises:
        PluginError: it fails, warns, or links to a file that it does not save in its own folder.
    """
    with TemporaryDirectory() as folder:
        # The same lines at the same places: a traceback tells where to look in the script.
        Path(folder, name).write_text(_CELL_LINE.sub(lambda _: _TELL, script))
        done = subprocess.run(
            [sys.executable, "-W", "error", name],
            cwd=folder,
            env=os.environ | _ENVIRONMENT,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        _, *printed = done.stdout.split(_NEXT_CELL)
        if done.returncode:
            raise PluginError(f"The tutorial {name} failed:\n{printed[-1]}\n{done.stderr}")
        markdown = "\n\n".join(shown(name, script, printed))
        return Ran(markdown, dict(saved(name, markdown, Path(folder))))


def shown(name: str, script: str, printed: list[str]) -> Iterator[str]:
    """Yield the parts of the page: texts, code, and what it printed."""
    for cell, output in zip(_CELL.finditer(script), printed, strict=True):
        body = cell["body"].strip("\n")
        if cell[1]:
            yield _COMMENT.sub("", body)
        elif body:
            yield f"```python\n{body}\n```"
        if output.strip():
            yield f"````{{ .text .printed .no-copy }}\n{output.rstrip()}\n````"
    yield f"---\n\nThis page is the script [`{name}`]({name}) and what it printed."


def saved(name: str, markdown: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files that a page links to.

    Raises:
        PluginError: one is not there.
    """
    for path in dict.fromkeys(_LINK.findall(markdown)):
        file = folder / path
        if not path.startswith(f"out/{Path(name).stem}/") or not file.is_file():
            raise PluginError(f"The tutorial {name} shows {path}, which it has not saved there.")
        yield path, file.read_bytes()
