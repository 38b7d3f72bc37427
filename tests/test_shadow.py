"""Another package called `recipes` is named, and ours is found when nothing is in the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import imbalance_lens.shadow

REPOSITORY = Path(imbalance_lens.shadow.__file__).parents[1]
ASK = """
from imbalance_lens.errors import MissingPackageError
from imbalance_lens.shadow import import_recipes
try:
    print("ours", import_recipes().__file__)
except MissingPackageError as error:
    print(error)
"""


def answer(*path: Path) -> str:
    """What a fresh interpreter says that finds packages in these folders alone."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-S", "-P", "-c", ASK]
    done = subprocess.run(command, env=env, cwd=path[0], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that holds a `recipes` which must not be run."""
    package = tmp_path / "site" / "recipes"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError('not to be imported')\n")
    return package.parent


@pytest.fixture
def library_only(tmp_path: Path) -> Path:
    """A folder that holds `imbalance_lens` without `recipes`, as an uninstallation leaves it."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "imbalance_lens").symlink_to(REPOSITORY / "imbalance_lens")
    return folder


def test_our_recipes_are_found():
    said, where = answer(REPOSITORY).split(maxsplit=1)
    assert said == "ours"
    assert Path(where) == REPOSITORY / "recipes" / "__init__.py"


def test_another_distribution_is_named_with_the_way_out(site: Path):
    info = site / "torchtune-0.6.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchtune\nVersion: 0.6.1\n")
    (info / "RECORD").write_text("recipes/__init__.py,,\ntorchtune-0.6.1.dist-info/METADATA,,\n")
    assert answer(site, REPOSITORY) == (
        f"`import recipes` does not find imbalance-lens's package but {site}/recipes/__init__.py, "
        "which torchtune installed. Only one of the two can have the name: pip uninstall torchtune "
        "&& pip install --force-reinstall --no-deps imbalance-lens"
    )


def test_a_folder_that_nobody_installed_is_named(site: Path):
    said = answer(site, REPOSITORY)
    assert f"{site}/recipes/__init__.py, which no installed distribution claims" in said
    assert f"Rename it, or take {site} off Python's path." in said


def test_a_distribution_is_not_blamed_for_a_file_elsewhere(site: Path, tmp_path: Path):
    innocent = tmp_path / "other"
    info = innocent / "torchtune-0.6.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchtune\nVersion: 0.6.1\n")
    (info / "RECORD").write_text("recipes/__init__.py,,\n")
    assert "no installed distribution claims" in answer(site, innocent, REPOSITORY)


@pytest.mark.parametrize("leftovers", [False, True], ids=["no folder", "a folder without __init__"])
def test_missing_recipes_can_be_put_back(library_only: Path, leftovers: bool):
    if leftovers:
        (library_only / "recipes").mkdir()
    assert answer(library_only) == (
        "The package `recipes` of imbalance-lens is missing; uninstalling another distribution "
        "that has a `recipes` of its own, as torchtune does, deletes it. Put it back: "
        "pip install --force-reinstall --no-deps imbalance-lens"
    )
