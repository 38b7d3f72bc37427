"""Tutorials are shown with what they print; `make docs` runs them, and a failure fails it.

What is run here are small scripts of the same make: the tutorials themselves run once, with the
documentation.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .documents import REPOSITORY

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

from mkdocs.exceptions import PluginError

from docs.hooks.tutorials import SCRIPTS, ran

TUTORIALS = sorted(SCRIPTS.glob("*.py"))
FETCHED = {"AVMNIST"}
SCRIPT = """
# %% [markdown]
# # A title
#
# Some *text*.

# %%
number = 6


def twice(value: int) -> int:
    # A comment stays where it is.
    return 2 * value


# %%
print(twice(number))
# %% [markdown]
# The end.
""".lstrip()
SAVED = """
# %%
from pathlib import Path

Path("out/small").mkdir(parents=True)
Path("out/small/figure.svg").write_text("<svg/>")
Path("out/small/checkpoint.pt").write_text("large")

# %% [markdown]
# ![A small figure](out/small/figure.svg)
""".lstrip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the hook, one page and no tutorial yet."""
    for folder in ("docs/hooks", "examples/tutorials"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(REPOSITORY / "docs" / "hooks" / "tutorials.py", tmp_path / "docs" / "hooks")
    (tmp_path / "docs" / "index.md").write_text("# Home\n")
    (tmp_path / "mkdocs.yml").write_text(
        "site_name: small\ntheme: mkdocs\nplugins: []\nhooks: [docs/hooks/tutorials.py]\n"
    )
    return tmp_path


def build(repository: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_texts_code_and_what_it_prints_follow_each_other():
    text, first, second, printed, end, told = re.split(
        r"\n\n(?=```|The end|---|`)", ran("small.py", SCRIPT).markdown
    )
    assert text == "# A title\n\nSome *text*."
    assert first.startswith("```python\nnumber = 6\n")
    assert "    # A comment stays where it is.\n" in first
    assert second == "```python\nprint(twice(number))\n```"
    assert printed == "````{ .text .printed .no-copy }\n12\n````"
    assert end == "The end."
    assert "[`small.py`](small.py)" in told


def test_what_another_process_prints_is_shown_in_its_place():
    script = """
# %%
import subprocess, sys

print("before")
subprocess.run([sys.executable, "-c", "print('within')"], check=True)

# %%
print("after")
"""
    shown = ran("small.py", script).markdown
    assert [shown.count(word) for word in ("\nbefore\n", "\nwithin\n", "\nafter\n")] == [1, 1, 1]
    assert shown.index("\nwithin\n") < shown.index('print("after")') < shown.index("\nafter\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings; warnings.warn('too old', stacklevel=1)", "too old"),
        ("raise SystemExit(3)", "small.py"),
    ],
)
def test_a_script_that_fails_or_warns_is_refused(line: str, said: str):
    with pytest.raises(PluginError, match=said):
        ran("small.py", f"# %% [markdown]\n# # Title\n\n# %%\n{line}\n")


def test_a_failure_names_the_line_of_the_script():
    with pytest.raises(PluginError, match=r'small\.py", line 5, in <module>'):
        ran("small.py", "# %% [markdown]\n# # Title\n\n# %%\n1 / 0\n")


def test_files_are_published_where_the_text_links_to_them():
    assert ran("small.py", SAVED).files == {"out/small/figure.svg": b"<svg/>"}


@pytest.mark.parametrize("other", ["out/small/other.svg", "out/another/figure.svg"])
def test_a_link_to_what_a_script_did_not_save_is_refused(other: str):
    with pytest.raises(PluginError, match=other):
        ran(
            "small.py",
            SAVED.replace("# ![A small figure](out/small/figure.svg)", f"# [x]({other})"),
        )


def test_a_site_has_the_pages_their_scripts_and_their_figures(repository: Path):
    tutorials = repository / "examples" / "tutorials"
    (tutorials / "2_small.py").write_text(SAVED.replace("out/small", "out/2_small"))
    (tutorials / "1_first.py").write_text(SCRIPT)
    done = build(repository)
    assert done.returncode == 0, done.stderr
    site = repository / "site" / "tutorials"
    assert "<h1" in (site / "1_first" / "index.html").read_text()
    assert (site / "1_first.py").read_text() == SCRIPT
    assert 'src="../out/2_small/figure.svg"' in (site / "2_small" / "index.html").read_text()
    assert (site / "out" / "2_small" / "figure.svg").read_text() == "<svg/>"
    home = (repository / "site" / "index.html").read_text()
    assert 0 < home.index("tutorials/1_first/") < home.index("tutorials/2_small/")


def test_a_tutorial_that_fails_fails_the_build(repository: Path):
    (repository / "examples" / "tutorials" / "1_bad.py").write_text("# %%\n1 / 0\n")
    done = build(repository)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr + done.stdout


def test_a_page_that_links_to_nothing_fails_the_build(repository: Path):
    (repository / "examples" / "tutorials" / "1_bad.py").write_text(
        "# %% [markdown]\n# [elsewhere](../nowhere.md)\n"
    )
    assert build(repository).returncode != 0


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_made_of_cells_and_needs_only_what_comes_with_the_package(tutorial: Path):
    script = tutorial.read_text()
    assert re.match(r"# %% \[markdown\]\n# # \d\. ", script)
    assert not re.search(r"^# %%(?!$| \[markdown\]$)", script, re.M)
    tree = ast.parse(script)
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not named & FETCHED
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert not [text for text in strings if isinstance(text, str) and re.match(r"https?:|/", text)]


def test_the_list_of_tutorials_has_all_of_them_in_order():
    index = (REPOSITORY / "docs" / "tutorials" / "index.md").read_text()
    listed = re.findall(r"^\d\. \[.+\]\((\w+)\.md\)", index, re.M)
    assert listed == [tutorial.stem for tutorial in TUTORIALS]
