"""The README and the pages on the first steps do as they say: every block in them is run."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import recipes
from imbalance_lens.cli._group import COMMANDS
from imbalance_lens.probes import PROBES

from .documents import REPOSITORY, Block, blocks, reads_like
from .following import check_set_up, follow, follow_console, run_python

QUICKSTART, CLI = "docs/quickstart.md", "docs/cli.md"
DOCUMENTS = ("README.md", QUICKSTART, CLI)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of somebody who has gone through the quickstart."""
    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        follow(QUICKSTART)
        yield folder
    for name in ("my_model", "train"):
        sys.modules.pop(name, None)


def test_the_quickstart_works_as_it_is_typed(quickstart: Path):
    made = {path.name for path in quickstart.iterdir()} - {"__pycache__"}
    assert made == {"my_model.py", "train.py", "run.pt", "report.nc", "report.csv"}


@pytest.mark.parametrize("document", ["README.md", CLI])
def test_a_page_works_for_somebody_who_has_gone_through_the_quickstart(
    document: str, quickstart: Path
):
    follow(document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_of_a_kind_that_is_run_or_compared(document: str):
    for block in blocks(document):
        known = block.language in ("python", "console") or block.noted("printed by")
        assert known, block.text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_named_is_there(document: str):
    page = REPOSITORY / document
    text = page.read_text()
    linked = re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", text)
    assert [link for link in linked if not (page.parent / link).exists()] == []
    tests = re.findall(r"`(tests/[^`]+)`", text)
    assert [path for path in tests if not (REPOSITORY / path).exists()] == []


def options() -> Iterator[tuple[str, str]]:
    for name in COMMANDS.names():
        for part in COMMANDS.get(name).params:
            if isinstance(part, click.Option):
                yield name, part.opts[0]


def test_the_page_on_the_command_line_has_every_command_and_option_and_no_other():
    text = (REPOSITORY / CLI).read_text()
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert set(sections) == set(COMMANDS.names())
    assert [pair for pair in options() if f"`{pair[1]}" not in sections[pair[0]]] == []
    shown = set(re.findall(r"`(--[\w-]+)", text))
    assert shown <= {option for _, option in options()} | {"--help", "--debug", "--version"}


@pytest.mark.parametrize(
    ("kind", "known"), [("probes", PROBES.names()), ("recipes", recipes.names())]
)
def test_the_probes_and_recipes_in_the_readme_are_there(kind: str, known: tuple[str, ...]):
    rows = re.findall(
        rf"^\| \[`(\w+)`\]\(docs/{kind}/", (REPOSITORY / "README.md").read_text(), re.M
    )
    assert sorted(rows) == sorted(known)


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("gets 88.7 % right,\naudio 61.0 %", "gets 9 % right, audio 61.25 %", True),
        ("visual dominates", "audio dominates", False),
        ("first\nsecond\nthird\n", "first\n...\nthird\n", True),
        ("first\nthird\n", "first\n...\nthird\n", True),
        ("first\nsecond\n", "first\n...\nthird\n", False),
        ("first\nsecond\n", "first\n", False),
        ("first\nsecond\n", "first\n...\n", True),
        ("second\nfirst\n", "first\n...\n", False),
        ("within 7.46e-08.", "within 0.", True),
    ],
)
def test_what_is_shown_is_compared_but_for_its_numbers(printed: str, shown: str, same: bool):
    assert reads_like(printed, shown) is same


@pytest.mark.parametrize(
    "command",
    [
        "make everything",
        "make demo COLOR=red",
        "make demo TORCH=none",
        "source venv/bin/activate",
        "pip install /path/to/imbalance-lens[video]",
        "pip install imbalance-lense",
    ],
)
def test_a_set_up_that_the_makefile_does_not_know_is_noticed(command: str):
    with pytest.raises(AssertionError):
        check_set_up(*shlex.split(command)[:1], shlex.split(command)[1:])


@pytest.mark.parametrize(
    "text",
    [
        "$ imbalance-lens scan missing.pt\n",
        "$ python -c \"print('audio')\"\nvisual\n",
        "$ rm -rf folder\n",
        "imbalance-lens --version\n",
    ],
)
def test_a_command_that_fails_or_prints_something_else_is_noticed(text: str):
    with pytest.raises(AssertionError):
        follow_console(Block("console", text, ""))


def test_code_that_raises_is_noticed():
    with pytest.raises(ZeroDivisionError):
        run_python("1 / 0")


def test_what_a_page_says_that_its_code_prints_is_compared(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint('audio')\n```\n\n<!-- printed by: the code above -->\n"
        "```text\nvisual\n```\n"
    )
    with pytest.raises(AssertionError):
        follow(str(page))
