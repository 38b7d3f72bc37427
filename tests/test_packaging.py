"""What is built and installed is what the repository says."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import imbalance_lens

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("imbalance_lens", "recipes")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
INFO = f"imbalance_lens-{imbalance_lens.__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return Path(next(iter(WheelBuilder(str(REPOSITORY)).build(directory=str(folder)))))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def metadata(unpacked: Path) -> Message:
    return message_from_bytes((unpacked / INFO / "METADATA").read_bytes())


def files_below(folder: Path, *names: str) -> set[str]:
    paths = (path for name in names for path in (folder / name).rglob("*") if path.is_file())
    kept = (path.relative_to(folder) for path in paths if "__pycache__" not in path.parts)
    return {path.as_posix() for path in kept}


def pins() -> dict[str, Version]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    split = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in split}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for group in (PROJECT["dependencies"], *extras) for text in group]


def test_the_wheel_holds_every_file_of_both_packages(unpacked: Path):
    assert files_below(unpacked, *PACKAGES) == files_below(REPOSITORY, *PACKAGES)


def test_the_wheel_holds_nothing_else(unpacked: Path):
    assert {path.name for path in unpacked.iterdir()} == {*PACKAGES, INFO}


def test_both_packages_say_that_they_are_typed(unpacked: Path):
    for package in PACKAGES:
        assert (unpacked / package / "py.typed").is_file()


def test_both_packages_can_be_imported_from_the_wheel(unpacked: Path):
    ask = f"""
import sys
sys.path.insert(0, {str(unpacked)!r})
import imbalance_lens, recipes
print(imbalance_lens.__file__, recipes.__file__)
"""
    command = [sys.executable, "-c", ask]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(unpacked / name / "__init__.py") for name in PACKAGES]


def test_the_metadata_name_the_distribution(metadata: Message):
    assert metadata["Name"] == "imbalance-lens"
    assert metadata["Version"] == imbalance_lens.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert str(metadata.get_payload()).startswith("# imbalance-lens")


def test_the_metadata_offer_the_extras(metadata: Message):
    assert set(metadata.get_all("Provides-Extra", [])) == {"audio", "lightning", "docs", "dev"}


def test_the_command_is_an_entry_point(unpacked: Path):
    said = (unpacked / INFO / "entry_points.txt").read_text()
    assert said.split("\n")[:2] == [
        "[console_scripts]",
        "imbalance-lens = imbalance_lens.cli:main",
    ]


def test_the_full_license_is_there(unpacked: Path):
    text = (unpacked / INFO / "licenses" / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_stolen_releases_of_lightning_are_refused(version: str):
    (wanted,) = map(Requirement, PROJECT["optional-dependencies"]["lightning"])
    assert not wanted.specifier.contains(version)


def test_the_source_distribution_can_be_tested_and_built(tmp_path: Path):
    made = Path(next(iter(SdistBuilder(str(REPOSITORY)).build(directory=str(tmp_path)))))
    with tarfile.open(made) as archive:
        names = {name.split("/", maxsplit=1)[1] for name in archive.getnames()}
    assert files_below(REPOSITORY, *PACKAGES) <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"} <= names
    assert "tests/test_packaging.py" in names
    assert not any(name.startswith((".", "out/", "benchmarks/")) for name in names - {".gitignore"})


def test_constraints_are_names_and_exact_versions_only():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    wrong = [x for x in lines if not x.startswith("#") and not re.fullmatch(r"[\w.-]+==[\d.]+", x)]
    assert wrong == []


def test_constraints_leave_to_torch_what_torch_pins():
    assert [name for name in pins() if name.startswith(("nvidia", "cuda", "triton"))] == []


def test_constraints_fit_what_the_project_asks_for():
    held = pins()
    asked = [wanted for wanted in requirements() if wanted.name != PROJECT["name"]]
    assert [wanted.name for wanted in asked if canonicalize_name(wanted.name) not in held] == []
    wrong = [x for x in asked if not x.specifier.contains(held[canonicalize_name(x.name)])]
    assert wrong == []


def test_the_citation_names_the_version_that_is_here():
    text = (REPOSITORY / "CITATION.cff").read_text()
    assert f"\nversion: {imbalance_lens.__version__}\n" in text
