"""The page on the schema shows the schema."""

import re

from imbalance_lens.schema import DIMENSIONS, SCHEMA_VERSION, UNITS

from .documents import REPOSITORY

TEXT = (REPOSITORY / "docs/schema.md").read_text()


def rows_of(heading: str) -> list[list[str]]:
    """The rows of the first table that has a heading over its first column."""
    table = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_every_dimension_is_on_the_page_with_its_meaning():
    assert {name.strip("`"): meaning for name, meaning in rows_of("Dimension")} == DIMENSIONS


def test_every_unit_is_on_the_page():
    assert {unit for cell, _ in rows_of("Unit") for unit in re.findall(r"`(.+?)`", cell)} == UNITS


def test_the_version_is_that_of_the_schema():
    assert f"version {SCHEMA_VERSION}" in TEXT
