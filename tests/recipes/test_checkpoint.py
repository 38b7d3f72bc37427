"""Checkpoints give back what they were given, tell of damage, and never run what a file holds."""

import os
import pickle
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imbalance_lens.errors import CheckpointError, SettingError
from recipes._training.checkpoint import Checkpoints, random_states, set_random_states
from recipes._training.storable import plain

FINGERPRINT = {"recipe": "ogm_ge", "settings": {"alpha": 0.5}}


@pytest.fixture
def run(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run", FINGERPRINT)


def weights(step: int) -> dict[str, Tensor]:
    return {"layer.weight": torch.full((4, 3), float(step))}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


BASE = torch.arange(12.0).view(3, 4)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"one": BASE, "tied": BASE, "view": BASE[1], "turned": BASE.t()},
        {"": BASE, "a b/ä.weight": torch.tensor(3), "half": BASE.bfloat16(), "none": BASE[:0]},
        {"same everywhere": torch.ones(1).expand(5), "parameter": torch.nn.Parameter(BASE)},
    ],
)
def test_weights_of_every_kind_come_back(run: Checkpoints, given: dict[str, Tensor]) -> None:
    run.save(3, given, {})
    run.save_best(given)
    loaded, best = run.load(), run.load_best()
    assert loaded is not None
    assert best is not None
    assert loaded.step == 3
    for back in (loaded.weights, best):
        assert back.keys() == given.keys()
        for name, tensor in back.items():
            assert tensor.dtype is given[name].dtype
            assert torch.equal(tensor, given[name])


def test_a_state_of_every_kind_comes_back(run: Checkpoints) -> None:
    state = {
        "optimizer": {"state": {0: {"step": torch.tensor(2.0)}}, "groups": [{"betas": (0.9, 1)}]},
        "text": "ä",
        "nothing": None,
        "ordered": OrderedDict(a=1),
        "numpy": [np.float64(0.5), np.int64(2), np.arange(3)],
        "random": random_states(),
    }
    run.save(1, {}, state)
    loaded = run.load()
    assert loaded is not None
    back = loaded.state
    assert back["optimizer"] == state["optimizer"]
    assert (back["text"], back["nothing"], back["ordered"]) == ("ä", None, {"a": 1})
    assert back["numpy"][:2] == [0.5, 2]
    assert back["numpy"][2].tolist() == [0, 1, 2]
    assert back["random"]["python"] == random.getstate()


def test_random_numbers_go_on_where_they_were(run: Checkpoints) -> None:
    def drawn() -> list[Any]:
        numpy = np.random.normal(size=3).tolist()  # noqa: NPY002
        return [random.random(), random.gauss(), numpy, torch.rand(3).tolist()]

    drawn()
    run.save(1, {}, random_states())
    first = drawn()
    loaded = run.load()
    assert loaded is not None
    set_random_states(loaded.state)
    assert drawn() == first != drawn()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_random_numbers_of_the_gpu_go_on_where_they_were(run: Checkpoints) -> None:
    torch.rand(3, device="cuda")
    run.save(1, {"weight": torch.ones(3, device="cuda")}, random_states())
    first = torch.rand(3, device="cuda")
    loaded = run.load()
    assert loaded is not None
    assert loaded.weights["weight"].device.type == "cpu"
    set_random_states(loaded.state)
    assert torch.equal(torch.rand(3, device="cuda"), first)


def test_a_small_piece_of_a_large_tensor_makes_no_large_file(run: Checkpoints) -> None:
    large = torch.zeros(1_000_000)
    run.save(1, {"piece": large[:3]}, {"piece": large[:3]})
    assert all(path.stat().st_size < 10_000 for path in run.folder.iterdir())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"scheduler": {"of": [1, print]}}, r"state\['scheduler'\]\['of'\]\[1\] is a builtin"),
        ({"device": Path()}, r"state\['device'\] is a PosixPath, which a checkpoint cannot hold"),
    ],
)
def test_what_cannot_be_read_back_is_refused_before_anything_is_written(
    run: Checkpoints, state: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        run.save(1, weights(1), state)
    with pytest.raises(SettingError, match="__metadata__"):
        run.save(1, {"__metadata__": BASE}, {})
    assert names(run.folder) == []
    with pytest.raises(SettingError, match="fingerprint"):
        Checkpoints(run.folder, {"loss": print})


def test_the_newest_two_stay(run: Checkpoints) -> None:
    assert run.load() is None
    assert run.load("previous") is None
    assert run.load_best() is None
    run.save_best(weights(1))
    for step in (10, 20, 20, 15):
        run.save(step, weights(step), {"step": step})
    assert names(run.folder) == [
        *(f"00000{number}.{suffix}" for number in (3, 4) for suffix in ("pt", "safetensors")),
        "best.safetensors",
    ]
    for which, step in (("latest", 15), ("previous", 20)):
        loaded = run.load(which)
        assert loaded is not None
        assert (loaded.step, loaded.state) == (step, {"step": step})
        assert torch.equal(loaded.weights["layer.weight"], weights(step)["layer.weight"])
    with pytest.raises(SettingError, match="which='first' is not known"):
        run.load("first")


def test_files_are_readable_for_whom_the_umask_says(run: Checkpoints) -> None:
    before = os.umask(0o027)
    try:
        run.save(1, weights(1), {})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in run.folder.iterdir()} == {0o640}


def test_one_checkpoint_has_none_before_it(run: Checkpoints) -> None:
    run.save(1, weights(1), {})
    with pytest.raises(CheckpointError, match="holds one checkpoint and none before it"):
        run.load("previous")
    (run.folder / "000001.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"000001\.pt is .* There is none before it"):
        run.load()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.find(torch.full((4, 3), 2.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    torch.save({"epoch": 3}, path)


def of_the_other(path: Path) -> None:
    path.write_bytes(path.with_stem("000001").read_bytes())


def gone(path: Path) -> None:
    path.unlink()


def newer(path: Path) -> None:
    torch.save({**torch.load(path), "format": 99}, path)


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        ("pt", cut, "cut short, damaged"),
        ("pt", flipped, "is damaged"),
        ("pt", emptied, "cut short, damaged"),
        ("pt", foreign, "is no state of a training"),
        ("pt", newer, "of format 99, and this version of the library reads 1"),
        ("safetensors", cut, "cut short, damaged, or of another checkpoint"),
        ("safetensors", flipped, "cut short, damaged, or of another checkpoint"),
        ("safetensors", emptied, "cut short, damaged, or of another checkpoint"),
        ("safetensors", of_the_other, "cut short, damaged, or of another checkpoint"),
        ("safetensors", gone, "is missing"),
    ],
)
def test_damage_is_told_and_the_one_before_helps(run, suffix, damage, message) -> None:
    for step in (1, 2):
        run.save(step, weights(step), {"momentum": torch.full((4, 3), float(step))})
    damage(run.folder / f"000002.{suffix}")
    again = Checkpoints(run.folder, FINGERPRINT)
    told = rf'000002\.{suffix} .*{message}.*resume="previous" uses the checkpoint before it'
    with pytest.raises(CheckpointError, match=told):
        again.load()
    loaded = again.load("previous")
    assert loaded is not None
    assert loaded.step == 1
    again.save(2, weights(2), {})
    assert [name for name in names(run.folder) if name.endswith("pt")] == ["000001.pt", "000003.pt"]
    again.save(3, weights(3), {})
    assert [name for name in names(run.folder) if name.endswith("pt")] == ["000003.pt", "000004.pt"]


def test_damaged_best_weights_are_told(run: Checkpoints) -> None:
    run.save_best(weights(1))
    cut(run.folder / "best.safetensors")
    with pytest.raises(CheckpointError, match=r"best\.safetensors is cut short or damaged"):
        run.load_best()


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_malicious_file_is_refused_and_does_not_run(run: Checkpoints, new_format: bool) -> None:
    trap = run.folder / "ran"
    run.save(1, {}, {})
    run.save(2, {}, {})
    file = run.folder / "000002.pt"
    torch.save({"format": 1, "state": Runs(trap)}, file, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"000002\.pt is cut short, .*could run code"):
        run.load()
    file.write_bytes(pickle.dumps(Runs(trap)))
    with pytest.raises(CheckpointError, match=r"000002\.pt is cut short, .*could run code"):
        run.load()
    assert not trap.exists()


def test_another_training_is_told_by_what_differs(run: Checkpoints) -> None:
    run.save(1, {}, {})
    other = {"recipe": "ogm_ge", "settings": {"alpha": 0.8}, "seed": 1}
    told = (
        r"run are of another training: settings was \{'alpha': 0.5\} and is \{'alpha': 0.8\}; "
        r"seed was not there and is 1. Give what it had then, or another folder, or start anew"
    )
    with pytest.raises(CheckpointError, match=told):
        Checkpoints(run.folder, other).load()
    assert Checkpoints(run.folder, {**FINGERPRINT}).load() is not None


def test_a_fingerprint_may_hold_nan_and_equal_numbers_of_other_types(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {"nan": float("nan"), "lr": 1}).save(1, {}, {})
    assert Checkpoints(tmp_path, {"nan": float("nan"), "lr": 1.0}).load() is not None


def test_a_folder_is_made_only_inside_one_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist\. Make it first"):
        Checkpoints(tmp_path / "no" / "run", {})


def test_plain_keeps_types_of_numbers() -> None:
    given = {1: True, "two": (2.5, 3), "four": [torch.float16, b"5"]}
    assert plain(given, "given") == given
    assert type(plain(np.bool_(True), "given")) is bool
