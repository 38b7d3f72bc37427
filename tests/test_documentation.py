"""Every page of the documentation is run by a test, and none is forgotten."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import recipes

from .documents import REPOSITORY, blocks
from .following import ABOVE, follow

PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").rglob("*.md")
)
RUN_BY = {
    "docs/quickstart.md": "tests/test_snippets.py",
    "docs/cli.md": "tests/test_snippets.py",
    "docs/probes/*.md": "tests/probes/test_pages.py",
    "docs/recipes/*.md": "tests/recipes/test_pages.py",
    "docs/training.md": "tests/recipes/test_training_page.py",
    "docs/comparing.md": "tests/recipes/test_comparing_page.py",
    "docs/own_loop.md": "tests/recipes/adapters/test_page.py",
    "docs/findings.md": "tests/report/test_docs.py",
    "docs/report.md": "tests/report/test_page_docs.py",
    "docs/figures.md": "tests/figures/test_page.py",
    "docs/models.md": "tests/models/test_page.py",
    "docs/contributing.md": "tests/test_contributing.py",
}
"""Pages with tests of their own; all others are followed here."""
COMMAND = re.compile(r"^(?:\$ )?(?:pip|make|python|torchrun|imbalance-lens) ", re.M)


def followed_here(page: str) -> bool:
    return not any(fnmatch(page, pattern) for pattern in RUN_BY)


@pytest.mark.parametrize("page", [page for page in PAGES if followed_here(page)])
def test_a_page_does_as_it_says(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    follow(page)


@pytest.mark.parametrize(("pattern", "test"), RUN_BY.items())
def test_a_page_that_is_not_followed_here_is_run_by_the_test_that_is_named(pattern: str, test: str):
    assert [page for page in PAGES if fnmatch(page, pattern)]
    folder, _, name = pattern.removeprefix("docs/").rpartition("/")
    assert (folder if "*" in name else name) in (REPOSITORY / test).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_is_no_code(page: str):
    for block in blocks(page):
        tested = block.noted("run by")
        if tested:
            assert (REPOSITORY / tested).is_file(), tested
            continue
        known = block.language in ("python", "console", "text")
        assert known or block.noted("file"), f"nobody runs {block.language}:\n{block.text}"
        if block.language == "text" and not block.noted("printed by"):
            assert not COMMAND.search(block.text), f"nobody runs\n{block.text}"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown_as_printed_follows_code_or_is_printed_by_a_command(page: str):
    made = {ABOVE, "imbalance-lens demo"}
    assert {block.noted("printed by") for block in blocks(page)} - {""} <= made


def test_the_recipes_for_other_labels_are_those_that_take_them():
    text = (REPOSITORY / "docs/good_to_know.md").read_text().partition("- **Recipes**")[2]
    both, numbers, several = (
        set(re.findall(r"`(\w+)`", part))
        for part in re.split(r" take numbers|the former", text.partition("The others")[0])
    )
    takes = {name: recipes.get(name) for name in recipes.names()}
    assert both == {name for name, one in takes.items() if one.regresses and one.multilabel}
    assert numbers == {name for name, one in takes.items() if one.regresses and not one.multilabel}
    assert several == {name for name, one in takes.items() if one.multilabel and not one.regresses}


def test_every_page_has_its_place_in_the_order_of_the_pages():
    order = (REPOSITORY / "docs/.nav.yml").read_text()
    placed = re.findall(r"^ +- (?:[\w ]+: )?([\w./]+)$", order, re.M)
    pages = (page.removeprefix("docs/") for page in PAGES)
    folders = tuple(f"{place}/" for place in placed if not place.endswith(".md"))
    assert [page for page in pages if page not in placed and not page.startswith(folders)] == []
