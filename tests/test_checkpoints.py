import argparse
import io
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from imbalance_lens.checkpoints import load_weights
from imbalance_lens.errors import CheckpointError
from tests.data_folder import require

WEIGHTS = {"conv.weight": torch.arange(4.0), "conv.bias": torch.ones(1)}


class Payload:
    """Would create a file as soon as it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def saved(folder, content, name="run.pt", **how):
    file = folder / name
    torch.save(content, file, **how)
    return file


def old_format(folder, content, name="run.th"):
    return saved(folder, content, name, _use_new_zipfile_serialization=False)


def network():
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Linear(4, 3))


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype is tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("write", [saved, old_format])
@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.th", "a.ckpt", "a.bin", "a.safetensors", "a"])
def test_the_content_says_what_kind_of_file_it_is_not_its_name(tmp_path, write, name):
    assert_same(load_weights(write(tmp_path, WEIGHTS, name)), WEIGHTS)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_safetensors_are_read_under_any_name(tmp_path, name):
    save_file(WEIGHTS, tmp_path / name)
    found = load_weights(tmp_path / name)
    assert_same({key: found[key] for key in WEIGHTS}, WEIGHTS)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {
            "state_dict": w,
            "epoch": 3,
            "optimizer": {"state": {0: {"step": w["conv.bias"]}}},
        },
        lambda w: {"model": w, "best": torch.ones(())},
        lambda w: {"model_state_dict": w},
        lambda w: {"net": w, "acc": 91.7},
        lambda w: {"weights of mine": w, "epoch": 3},
        lambda w: {"checkpoint": {"state_dict": w, "step": 7}},
        lambda w: {"model": w, "model_ema": {"conv.weight": torch.zeros(4)}},
        lambda w: {"state_dict": w, "teacher": {"state_dict": {"conv.weight": torch.zeros(4)}}},
        lambda w: {"metrics": {"accuracy": torch.ones(())}, "last": {"model": w}},
    ],
)
def test_the_weights_inside_a_checkpoint_are_found(tmp_path, wrap):
    assert_same(load_weights(saved(tmp_path, wrap(WEIGHTS))), WEIGHTS)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
def test_what_wrappers_put_in_front_of_names_is_taken_off(tmp_path, prefix):
    wrapped = {prefix + name: tensor for name, tensor in WEIGHTS.items()}
    assert_same(load_weights(saved(tmp_path, wrapped)), WEIGHTS)


def test_a_compiled_part_loses_its_wrapper_and_a_part_called_module_keeps_its_name(tmp_path):
    names = ["audio._orig_mod.weight", "visual.module.weight", "my_module.weight"]
    found = load_weights(saved(tmp_path, dict.fromkeys(names, torch.ones(1))))
    assert list(found) == ["audio.weight", "visual.module.weight", "my_module.weight"]


def test_names_that_would_coincide_stay_as_they_are(tmp_path):
    both = {"module.weight": torch.ones(1), "weight": torch.zeros(1)}
    assert_same(load_weights(saved(tmp_path, both)), both)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_is_kept(tmp_path, dtype):
    weights = {"weight": torch.tensor([1.5, 6e-8], dtype=dtype)}
    assert_same(load_weights(saved(tmp_path, weights)), weights)


def test_parameters_come_back_as_plain_tensors(tmp_path):
    found = load_weights(saved(tmp_path, {"weight": nn.Parameter(torch.ones(2))}))
    assert not found["weight"].requires_grad


@pytest.mark.parametrize("write", [saved, old_format])
def test_an_object_besides_tensors_is_refused_by_name_and_read_when_trusted(tmp_path, write):
    file = write(tmp_path, {"state_dict": WEIGHTS, "args": argparse.Namespace(lr=0.1)})
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace.*trust=True.*--trust-checkp"):
        load_weights(file)
    assert_same(load_weights(file, trust=True), WEIGHTS)


def test_a_newer_pickle_protocol_is_read_when_trusted(tmp_path):
    file = saved(tmp_path, WEIGHTS, pickle_protocol=4)
    with pytest.raises(CheckpointError, match=r"can run code: Unsupported operand.*trust=True"):
        load_weights(file)
    assert_same(load_weights(file, trust=True), WEIGHTS)


def test_all_refused_objects_are_named(tmp_path):
    file = saved(tmp_path, {"args": argparse.Namespace(), "part": nn.Linear(1, 1), **WEIGHTS})
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace, .*torch\.nn.*Linear"):
        load_weights(file)


def test_a_whole_model_gives_its_weights_when_trusted(tmp_path):
    model = network()
    file = saved(tmp_path, model)
    with pytest.raises(CheckpointError, match="trust=True"):
        load_weights(file)
    assert_same(load_weights(file, trust=True), model.state_dict())


@pytest.mark.parametrize("trap", ["new", "old", "hidden", "pickle 0", "pickle 2", "pickle 4"])
def test_a_malicious_file_does_not_run(tmp_path, trap):
    mark, file = tmp_path / "ran", tmp_path / "trap.pt"
    if trap.startswith("pickle"):
        file.write_bytes(pickle.dumps(Payload(mark), protocol=int(trap[-1])))
    elif trap == "hidden":
        saved(tmp_path, {"state_dict": WEIGHTS, "extra": Payload(mark)}, file.name)
    else:
        write = saved if trap == "new" else old_format
        write(tmp_path, Payload(mark), file.name)
    with pytest.raises(CheckpointError):
        load_weights(file)
    assert not mark.exists()


def test_the_payload_of_these_tests_would_run(tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_weights(saved(tmp_path, Payload(mark)), trust=True)
    assert mark.exists()


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path):
    (tmp_path / "empty.pt").touch()
    with pytest.raises(CheckpointError, match=r"There is no file .*nowhere\.pt\. Check the path\."):
        load_weights(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match=r"is a folder\. Give the checkpoint file inside it"):
        load_weights(tmp_path)
    with pytest.raises(CheckpointError, match=r"empty\.pt is empty"):
        load_weights(str(tmp_path / "empty.pt"))


def test_a_file_that_cannot_be_read_says_why(tmp_path, monkeypatch):
    file = saved(tmp_path, WEIGHTS)

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(CheckpointError, match=r"cannot be read: Permission denied\."):
        load_weights(file)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", ["new", "old", "safetensors"])
def test_a_file_that_is_cut_short_is_called_damaged(tmp_path, kind, share):
    file, weights = tmp_path / "run.pt", {"weight": torch.ones(100)}
    if kind == "safetensors":
        save_file(weights, file)
    else:
        (saved if kind == "new" else old_format)(tmp_path, weights, file.name)
    whole = file.read_bytes()
    file.write_bytes(whole[: max(9, int(share * len(whole)))])
    with pytest.raises(CheckpointError, match=r"is cut short, damaged, or no checkpoint \(\S.*\)"):
        load_weights(file)


def archive():
    import zipfile

    with zipfile.ZipFile(stream := io.BytesIO(), "w") as file:
        file.writestr("readme.txt", "no weights")
    return stream.getvalue()


@pytest.mark.parametrize(
    "content", [b'{"weight_map": {"a": 1}}', b"epoch,loss\n1,0.5\n", b"x", archive()]
)
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path, content):
    file = tmp_path / "notes.pt"
    file.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"is no checkpoint: neither torch\.save nor safetens"
    ):
        load_weights(file)


@pytest.mark.parametrize("trust", [False, True])
def test_a_torchscript_archive_is_refused(tmp_path, trust):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(nn.Linear(2, 1)).save(file := tmp_path / "program.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript archive, which is a program"):
        load_weights(file, trust=trust)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ({"epoch": 3, "loss": 0.5}, r"epoch \(int\), loss \(float\)"),
        ({"a": {0: "b"}}, r"a \(dict\)"),
        ({}, "dict"),
        (torch.ones(2), "Tensor"),
        ([WEIGHTS], "list"),
    ],
)
def test_a_checkpoint_without_weights_says_what_it_holds(tmp_path, content, held):
    with pytest.raises(CheckpointError, match=f"holds no weights: {held}\\. Save a state_dict"):
        load_weights(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"generator": WEIGHTS, "critic": WEIGHTS}, "generator, critic"),
        ({"model": WEIGHTS, "net": WEIGHTS}, "model, net"),
        ({"audio": {"model": WEIGHTS}, "visual": {"model": WEIGHTS}}, "audio.model, visual.model"),
    ],
)
def test_several_sets_of_weights_are_listed(tmp_path, content, named):
    with pytest.raises(CheckpointError, match=f"several sets of weights: {named}. Save the one"):
        load_weights(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "layers"), [("resnet20-12fca82f.th", 20), ("resnet56-4bfd9763.th", 56)]
)
def test_published_checkpoints_are_read(name, layers):
    found = load_weights(require("checkpoints") / name)
    kernels = [
        tensor for key, tensor in found.items() if key.endswith("weight") and tensor.ndim > 1
    ]
    assert len(kernels) == layers
    assert found["linear.weight"].shape == (10, 64)
