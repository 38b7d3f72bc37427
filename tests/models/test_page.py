"""The page on models: its code runs, and its tables say what the models do."""

import re

import pytest
import torch

from imbalance_lens import models
from imbalance_lens.errors import SettingError
from imbalance_lens.models import Fusion
from tests.documents import REPOSITORY, blocks
from tests.models.fusions import ALL, late, readout_of, sizes_of

PAGE = "docs/models.md"
TEXT = (REPOSITORY / PAGE).read_text()
ROWS = [
    [cell.strip() for cell in row.strip("|").split("|")]
    for row in TEXT.partition("## Fusions")[2].splitlines()
    if row.startswith("| `")
]
MAKE = {type(make(sizes_of(2))).__name__: make for make in ALL.values()}


def test_the_code_of_the_page_runs():
    known = {"__name__": "__main__"}
    for code in [block.text for block in blocks(PAGE) if block.language == "python"]:
        exec(compile(code, PAGE, "exec"), known)


def test_every_model_is_on_the_page():
    assert {row[0].strip("`") for row in ROWS} == set(MAKE)
    assert set(MAKE) == {
        name
        for name in models.__all__
        if issubclass(getattr(models, name), Fusion) and name != "Fusion"
    }
    shown = set(re.findall(r"^::: imbalance_lens\.models\.(\w+)$", TEXT, re.M))
    assert shown == set(models.__all__)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_a_row_says_what_the_fusion_does(row: list[str]):
    name, _, _, count, additive, kind = row
    make = MAKE[name.strip("`")]
    if count == "2":
        with pytest.raises(SettingError):
            make(sizes_of(3))
    else:
        make(sizes_of(3))
    readout = readout_of(*late(make))
    assert (readout.additivity_gap < 1e-5) == (additive == "yes")
    if kind.startswith("none"):
        assert not any(readout.identifiable.values())
    else:
        assert readout.kind == kind.split("`")[1]
        assert all(readout.identifiable.values())


def test_the_sizes_of_the_encoders_are_as_the_page_says():
    assert models.SmallCnn(width=3)(torch.randn(2, 1, 4, 4)).shape == (2, 8 * 3)
    assert models.SmallCnn(width=3).out_features == 8 * 3
    assert models.ResNet18().out_features == 512
