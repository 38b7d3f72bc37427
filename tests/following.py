"""Doing what a document says: writing its files, running its code and commands, comparing."""

import re
import shlex
import tomllib
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from imbalance_lens.cli import main

from .documents import REPOSITORY, Block, blocks, commands, reads_like

SET_UP = ("make", "source", "pip")
"""What is not run but looked up: it would change this environment."""
ABOVE = "the code above"
"""What stands under `printed by` where a block shows what the Python block before it prints."""


def follow(document: str) -> None:
    """Do what a document says, in the current folder; complain if something else comes out."""
    known: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(document):
        if block.noted("run by"):
            continue
        if block.noted("file"):
            Path(block.noted("file")).write_text(block.text)
        elif block.language == "python":
            printed = run_python(block.text, known)
        elif block.language == "console":
            follow_console(block)
        elif block.noted("printed by") == ABOVE:
            assert reads_like(printed, block.text), printed


def follow_console(block: Block) -> None:
    told = list(commands(block))
    assert told, f"a console block without a line that begins with $:\n{block.text}"
    for command, shown in told:
        first, *words = shlex.split(command, comments=True)
        if first in SET_UP:
            check_set_up(first, words)
            continue
        code, printed = run(first, words)
        assert code == int(block.noted("exit code") or 0), f"$ {command}\n{printed}"
        assert not shown or reads_like(printed, shown), f"$ {command}\n{printed}"


def run(first: str, words: list[str]) -> tuple[int, str]:
    """Run a command in this process, which saves seconds for each; return exit code and output."""
    if first == "imbalance-lens":
        result = CliRunner().invoke(main, words)
        return result.exit_code, result.output
    assert first == "python", f"nobody looks whether this works: {first} {shlex.join(words)}"
    return 0, run_python(words[1] if words[0] == "-c" else Path(words[0]).read_text())


def run_python(code: str, known: dict[str, Any] | None = None) -> str:
    """Run code, with the names of code before it if there are any; return what it prints."""
    names: dict[str, Any] = {"__name__": "__main__"} if known is None else known
    with redirect_stdout(StringIO()) as printed:
        exec(compile(code, "<document>", "exec"), names)
    return printed.getvalue()


def check_set_up(first: str, words: list[str]) -> None:
    """Complain about what neither the Makefile nor the project's metadata have."""
    if first == "pip":
        check_installation(words)
        return
    makefile = (REPOSITORY / "Makefile").read_text()
    if first == "source":
        (folder,) = re.findall(r"^VENV \?= (\S+)$", makefile, re.M)
        assert words == [f"{folder}/bin/activate"]
        return
    (known,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.M)
    for word in words:
        name, _, value = word.partition("=")
        if not value:
            assert name in known.split()
            continue
        assert re.search(rf"^# {name}=", makefile, re.M)
        assert name != "TORCH" or f"define torch-{value}\n" in makefile


def check_installation(words: list[str]) -> None:
    """Complain about an extra that the project does not have, or another package."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert words[0] == "install"
    for word in words[1:]:
        wanted = re.fullmatch(rf"(?:/path/to/|\./)?{project['name']}(?:\[([\w,]+)\])?", word)
        assert wanted, word
        extras = set((wanted[1] or "").split(",")) - {""}
        assert extras <= set(project["optional-dependencies"])
