import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from imbalance_lens import scan_checkpoint, schema
from imbalance_lens.errors import CheckpointError, NotApplicableError
from imbalance_lens.formulas import CRITERIA
from imbalance_lens.observation import BatchNormState
from imbalance_lens.probes.abnormal_batchnorm import scan
from tests.data_folder import require

from .batchnorm_layers import GOLDEN, golden_layer, state, states

NONE = torch.empty(0)
values = st.sampled_from([0.0, 1e-12, 1e-6, 1e-3, 0.5, -1e-12, -1e-3, -0.5])
layers = st.lists(
    st.lists(st.tuples(values, values), min_size=1, max_size=5), min_size=1, max_size=4
)


@pytest.mark.parametrize("case", [key for key in GOLDEN if "@" in key])
def test_counts_and_marks_are_the_golden_ones(case):
    criterion, threshold = case.split("@")
    marks, share = GOLDEN[case]
    found = scan(golden_layer(), [float(threshold)], criterion).sel(threshold=float(threshold))
    assert found["abnormal"].values.astype(int).tolist() == marks
    assert found["abnormal_count"].item() == found[f"{criterion}_count"].item() == sum(marks)
    assert found["abnormal_ratio"].item() == found["total_ratio"].item() == pytest.approx(share)


def counted_by_hand(file, threshold):
    """Count without the library: abnormal pairs and scales per layer, with numpy."""
    stored = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    arrays = {name.removeprefix("module."): v.double().numpy() for name, v in stored.items()}
    counts = {}
    for name in arrays:
        if name.endswith(".running_var"):
            layer = name.removesuffix(".running_var")
            scale, shift = np.abs(arrays[f"{layer}.weight"]), np.abs(arrays[f"{layer}.bias"])
            pair = np.count_nonzero(np.maximum(scale, shift) < threshold)
            counts[layer] = (len(scale), pair, np.count_nonzero(scale < threshold))
    return counts


@pytest.mark.parametrize(
    ("name", "layers", "channels"),
    [("resnet20-12fca82f.th", 19, 688), ("resnet56-4bfd9763.th", 55, 2032)],
)
@pytest.mark.parametrize("threshold", [1e-1, 1e-2, 1e-3, 2e-5])
def test_published_checkpoints_are_counted_as_by_hand(name, layers, channels, threshold):
    file = require("checkpoints") / name
    found = scan_checkpoint(file, thresholds=(1e-10, threshold)).sel(threshold=threshold)
    by_hand = counted_by_hand(file, threshold)
    assert len(by_hand) == layers
    assert found["channels"].sum() == channels
    counts = [found[v].values for v in ("channels", "pair_count", "gamma_count")]
    assert dict(zip(found["layer"].values, zip(*counts, strict=True), strict=True)) == by_hand


def test_a_published_checkpoint_has_the_known_number_of_tiny_channels():
    file = require("checkpoints") / "resnet20-12fca82f.th"
    found = scan_checkpoint(file, thresholds=(1e-2, 1e-3, 2e-5, 1e-10)).sum("layer")
    assert found["abnormal_count"].values.tolist() == [18, 10, 0, 0]
    assert found["gamma_count"].values.tolist() == [18, 17, 3, 0]


@given(layers)
def test_a_higher_threshold_never_counts_fewer_and_a_pair_is_never_without_its_scale(columns):
    found = scan(states(columns), (1e-10, 1e-5, 1e-2))
    for name in CRITERIA:
        assert (found[f"{name}_count"].diff("threshold") >= 0).all()
    assert (found["pair_count"] <= found["gamma_count"]).all()


@given(layers)
def test_layers_and_totals_agree_with_the_channels(columns):
    found = scan(states(columns), (1e-5,))
    marks = found["abnormal"].groupby("channel_layer").sum()
    for layer in found["layer"].values:
        assert marks.sel(channel_layer=layer).item() == found["abnormal_count"].sel(layer=layer)
    assert found["total_ratio"].item() == pytest.approx(found["abnormal"].mean().item())
    assert found["channels"].values.tolist() == [len(pairs) for pairs in columns]


@given(layers, st.sampled_from(CRITERIA))
def test_the_counts_by_the_criterion_stand_under_its_own_name_too(columns, criterion):
    found = scan(states(columns), (1e-5,), criterion)
    wanted = found[f"{criterion}_count"]
    assert (found["abnormal_count"].values == wanted.values).all()


def test_zeroing_one_channel_counts_exactly_one_more():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(8))
    fresh = {
        str(k): BatchNormState(layer.weight, layer.bias, NONE, NONE)
        for k, layer in enumerate(model)
        if isinstance(layer, nn.BatchNorm1d)
    }
    assert scan(fresh)["abnormal_count"].sum() == 0
    with torch.no_grad():
        fresh["1"].weight[5] = fresh["1"].bias[5] = 0
    found = scan(fresh)
    assert (found["abnormal_count"].sum("layer") == 1).all()
    assert found["channel"].values[found["abnormal"].values[0]].tolist() == ["1:5"]


def test_what_a_layer_s_parameters_are_like():
    found = scan({"bn": state([-2.0, 1.0, 0.0, 4.0], [0.5, -3.0, -1.0, 0.0])}, (1e-2,)).squeeze()
    assert found["weight_median"] == 1.5
    assert found["weight_min"] == 0
    assert found["bias_median"] == 0.75
    assert found["bias_min"] == 0
    chances = [0.5 * math.erfc(0.25 / math.sqrt(2)), 0.5 * math.erfc(-3 / math.sqrt(2)), 1, 0.5]
    assert found["dead_probability"].values.tolist() == pytest.approx(chances)
    assert found["mean_dead_probability"] == pytest.approx(sum(chances) / 4)


def test_a_tiny_scale_with_a_positive_shift_counts_as_constant():
    found = scan({"bn": state([0.0, 0.0, 1.0], [0.2, -0.2, 0.2])}, (1e-2,))
    assert found["constant_count"].item() == 1
    assert found["gamma_count"].item() == 2
    assert found["pair_count"].item() == 0


def test_a_nan_counts_as_abnormal_and_shows_in_the_sizes():
    found = scan({"bn": state([math.nan, 1.0], [0.0, 0.0])}, (1e-10,))
    assert found["abnormal_count"].item() == 1
    assert np.isnan(found["weight_median"].item())
    assert np.isnan(found["mean_dead_probability"].item())


def test_layers_know_their_modality_and_channels_their_layer():
    batchnorms = {"a.bn": state([1.0], [0.0], "a"), "b.bn": state([1.0, 1.0], [0.0, 0.0], "b")}
    found = scan(batchnorms)
    assert found["modality"].values.tolist() == ["a", "b"]
    assert found["channel"].values.tolist() == ["a.bn:0", "b.bn:0", "b.bn:1"]
    assert found["channel_layer"].values.tolist() == ["a.bn", "b.bn", "b.bn"]
    assert found["channel_index"].values.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("dtype", "noted"), [(torch.float16, True), (torch.bfloat16, False), (torch.float32, False)]
)
def test_half_precision_is_noted_where_it_makes_a_threshold_blind(dtype, noted):
    found = scan({"bn": state([1e-9, 1.0], [1e-9, 0.0], dtype=dtype)}, (1e-10, 1e-2))
    assert found.attrs["precision"] == str(dtype).removeprefix("torch.")
    assert found["abnormal_count"].values.flatten().tolist() == [int(noted), 1]
    assert ("no numbers between 0 and 6e-08" in found.attrs["precision_note"]) == noted
    assert ("[1e-10]" in found.attrs["precision_note"]) == noted


def test_an_answer_with_empty_modalities_survives_a_file(tmp_path):
    found = scan(golden_layer())
    found.to_netcdf(tmp_path / "scan.nc", engine="h5netcdf")
    loaded = xr.load_dataset(tmp_path / "scan.nc", engine="h5netcdf")
    xr.testing.assert_identical(loaded, found)
    assert loaded["abnormal"].dtype == bool


def saved(folder, content):
    torch.save(content, folder / "run.pt")
    return folder / "run.pt"


def test_a_checkpoint_is_scanned_by_what_its_layers_hold(tmp_path):
    model = nn.ModuleDict(
        {
            "bn": nn.BatchNorm2d(4),
            "layer_norm": nn.LayerNorm(4),
            "bare": nn.BatchNorm1d(4, affine=False),
            "batchwise": nn.BatchNorm1d(4, track_running_stats=False),
            "conv": nn.Conv1d(4, 4, 1),
        }
    )
    state_dict = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    found = scan_checkpoint(saved(tmp_path, {"state_dict": state_dict, "epoch": 3}))
    assert found["layer"].values.tolist() == ["bn"]
    assert found["modality"].values.tolist() == [""]
    schema.validate(found)


def test_entries_that_do_not_match_are_no_layer(tmp_path):
    good, odd, uneven = (nn.BatchNorm1d(4).state_dict() for _ in range(3))
    odd["weight"] = odd["weight"][:, None]
    uneven["bias"] = uneven["bias"][:2]
    named = {"good": good, "odd": odd, "uneven": uneven}
    whole = {f"{name}.{k}": v for name, entries in named.items() for k, v in entries.items()}
    assert scan_checkpoint(saved(tmp_path, whole))["layer"].values.tolist() == ["good"]


def test_a_checkpoint_of_a_single_layer_is_scanned(tmp_path):
    found = scan_checkpoint(saved(tmp_path, nn.BatchNorm1d(3).state_dict()))
    assert found["layer"].values.tolist() == [""]
    assert found["channel"].values.tolist() == [":0", ":1", ":2"]


def test_a_checkpoint_without_batchnorm_says_what_it_holds(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    with pytest.raises(NotApplicableError, match=r"no BatchNorm.*5 tensors \(0.weight.* 1 are run"):
        scan_checkpoint(saved(tmp_path, model.state_dict()))


def test_a_checkpoint_is_not_trusted_unless_told(tmp_path):
    file = saved(tmp_path, nn.BatchNorm1d(3))
    with pytest.raises(CheckpointError, match="trust=True"):
        scan_checkpoint(file)
    assert scan_checkpoint(file, trust=True).sizes["channel"] == 3


def test_the_file_is_only_read(tmp_path):
    file = saved(tmp_path, nn.BatchNorm1d(3).state_dict())
    before = file.read_bytes()
    scan_checkpoint(file)
    assert file.read_bytes() == before
