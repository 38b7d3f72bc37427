"""Channels that parameters call dead, beside those that are so on data."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from sklearn.metrics import precision_score, recall_score

from examples import dead_channels
from imbalance_lens.capacity import join
from imbalance_lens.checkpoints import load_into
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.observation import Activation, BatchNormState, Observation
from imbalance_lens.probes.abnormal_batchnorm import AbnormalBatchnorm
from imbalance_lens.probes.dead_features import DeadFeatures
from tests.data_folder import require
from tests.resnet_cifar import ResNetCifar, cifar10_images

NOTHING = torch.empty(0)
SIZES = {"a.bn": 30, "b.bn": 12}


def parameters() -> dict[str, BatchNormState]:
    draw = torch.Generator().manual_seed(1)
    states = {}
    for path, size in SIZES.items():
        weight, bias = torch.randn(2, size, generator=draw) * torch.tensor([[0.3], [0.5]])
        weight[::3], bias[::6] = 1e-6, -1e-6
        states[path] = BatchNormState(weight, bias, NOTHING, NOTHING, modality=path[0])
    return states


def abnormal(thresholds: tuple[float, ...] = (1e-5, 0.2)) -> xr.Dataset:
    probe = AbnormalBatchnorm(thresholds)
    probe.observe(Observation(NOTHING, NOTHING, ("a", "b"), batchnorms=parameters()))
    return probe.result()


def dead(kind: str = "batchnorm", **more: Activation) -> xr.Dataset:
    """Return an answer in which every second channel of both layers is dead."""
    shown = dict(more)
    for path, size in SIZES.items():
        peaks = (torch.arange(size) % 2).expand(5, size).float()
        shown[f"{path} > relu"] = Activation(peaks, peaks, "relu", True, path, kind, path[0])
    probe, labels = DeadFeatures(), torch.arange(5) % 2
    seen = Observation(labels, torch.zeros(5, 2), ("a", "b"), activations=lambda _: shown)
    probe.observe(seen)
    return probe.result()


def other() -> Activation:
    ends = torch.zeros(5, 12)
    return Activation(ends, ends, "relu", True, producer="b", kind="sum")


def test_precision_and_recall_are_those_of_another_library():
    found = join(dead(), abnormal(), probability=0.9)
    assert found["layer"].values.tolist() == ["a.bn > relu", "b.bn > relu"]
    for layer in (None, *found["layer"].values):
        rows = slice(None) if layer is None else found["channel_layer"].values == layer
        at, prefix = (found, "total_") if layer is None else (found.sel(layer=layer), "")
        truth = found["dead"].values[rows]
        assert at[f"{prefix}dead_count"] == truth.sum()
        predicted = found["dead_probability"].values[rows] >= 0.9
        marks = {"predicted": predicted}
        for k in range(2):
            marks[k] = found["abnormal"].values[k, rows]
        for name, mark in marks.items():
            mine = at if name == "predicted" else at.isel(threshold=name)
            word = f"{prefix}{'predicted' if name == 'predicted' else 'abnormal'}"
            assert mine[f"{word}_count"] == mark.sum()
            assert mine[f"{word}_dead_count"] == (mark & truth).sum()
            precision = precision_score(truth, mark, zero_division=np.nan)
            np.testing.assert_allclose(mine[f"{word}_precision"], precision)
            np.testing.assert_allclose(mine[f"{word}_recall"], recall_score(truth, mark))


def test_only_what_directly_follows_a_batchnorm_is_compared():
    found = join(dead(b=other()), abnormal())
    assert found["layer"].values.tolist() == ["a.bn > relu", "b.bn > relu"]
    assert found["producer"].values.tolist() == ["a.bn", "b.bn"]
    assert found["modality"].values.tolist() == ["a", "b"]


def test_channels_are_matched_by_path_and_not_by_order():
    turned = dict(reversed(parameters().items()))
    probe = AbnormalBatchnorm((1e-5, 0.2))
    probe.observe(Observation(NOTHING, NOTHING, ("a", "b"), batchnorms=turned))
    xr.testing.assert_identical(join(dead(), probe.result()), join(dead(), abnormal()))


def test_of_several_epochs_the_last_one_counts():
    epochs = xr.concat([~dead()[["dead"]], dead()[["dead"]]], "epoch")["dead"]
    over = dead().assign(dead=epochs.assign_attrs(dead()["dead"].attrs)).assign_coords(epoch=[0, 1])
    xr.testing.assert_identical(join(over, abnormal()), join(dead(), abnormal()))


def test_where_nothing_is_predicted_there_is_no_precision():
    found = join(dead(), abnormal((1e-30,)))
    assert found["total_abnormal_count"] == 0
    assert found["total_abnormal_precision"].isnull().all()
    assert (found["total_abnormal_recall"] == 0).all()


def test_two_that_have_nothing_in_common_are_refused():
    with pytest.raises(NotApplicableError, match=r"in front of one: a\.bn, b\.bn; BatchNorm"):
        join(dead(kind="conv"), abnormal())
    with pytest.raises(SettingError, match=r"above 0 and at most 1; got 0"):
        join(dead(), abnormal(), probability=0)


def test_no_torch_is_needed():
    code = "import sys; import imbalance_lens.capacity, xarray; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_a_published_network_has_its_accuracy_on_all_images():
    net = ResNetCifar(20)
    load_into(net, require("checkpoints") / "resnet20-12fca82f.th")
    images, labels = cifar10_images(require("cifar10/test.zip"))
    with torch.inference_mode():
        right = torch.cat([net.eval()(part).argmax(1) for part in images.split(250)]) == labels
    assert right.double().mean().item() == pytest.approx(0.810, abs=0.003)


@pytest.mark.slow
def test_published_networks_are_dead_where_their_parameters_are_tiny():
    require("checkpoints")
    tree = dead_channels.diagnosis(require("cifar10/test.zip").parents[1], every=4)
    accuracy = tree["zero_out"]["alone"]
    assert accuracy.sel(modality="shallow").item() == pytest.approx(0.810, abs=0.01)
    assert accuracy.sel(modality="deep").item() == pytest.approx(0.832, abs=0.01)
    found = join(tree["dead_features"].to_dataset(), tree["abnormal_batchnorm"].to_dataset())
    by_net = found["dead_count"].groupby(found["modality"]).sum()
    assert by_net.sel(modality=["shallow", "deep"]).values.tolist() == [15, 51]
    assert found["total_predicted_precision"] > 0.95
    assert found["total_predicted_recall"] == 1
    assert found["total_abnormal_recall"].sel(threshold=1e-2) == 1


def test_the_example_tells_of_both_networks():
    folder = require("cifar10/test.zip").parents[1]
    require("checkpoints")
    shown = CliRunner().invoke(dead_channels.main, [str(folder), "--every", "100"])
    assert shown.exception is None
    told = shown.output.splitlines()
    assert len([line for line in told if line.endswith("100 images")]) == 2
    assert any(line.startswith("shallow.layer3.1.bn1") for line in told)
    totals = [line.split() for line in told if line.startswith("dead_probability >= 0.99 ")]
    assert [float(precision) for *_, precision, _ in totals] == pytest.approx([1, 1], abs=0.1)
