"""A folder with files of somebody else is left as it is."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import recipes
from imbalance_lens.errors import CheckpointError

from .trainings import loader_of, model_of


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("name", ["000123.safetensors", "best.safetensors", "000123.pt"])
def test_files_of_somebody_else_are_neither_overwritten_nor_removed(
    tmp_path: Path, name: str, resume: bool
) -> None:
    if name.endswith(".pt"):
        torch.save({"frame": torch.ones(3)}, tmp_path / name)
    else:
        save_file({"weight": torch.ones(3)}, tmp_path / name)
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=f"{name} is no checkpoint of this library"):
        recipes.apply(
            "none", model_of(), loader_of(), val_loader=loader_of(), epochs=2, device="cpu",
            checkpoint=tmp_path, resume=resume,
        )  # fmt: skip
    assert files(tmp_path) == before


def test_files_under_other_names_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    save_file({"weight": torch.ones(3)}, tmp_path / "encoder.safetensors")
    before = files(tmp_path)
    recipes.apply("none", model_of(), loader_of(), epochs=1, device="cpu", checkpoint=tmp_path)
    assert files(tmp_path).items() > before.items()
