import json
import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from imbalance_lens import Anatomy, Lens, scan_checkpoint, schema
from imbalance_lens.errors import (
    CheckpointError,
    NotApplicableError,
    NotAttachedError,
    SettingError,
)
from imbalance_lens.formulas import CRITERIA
from imbalance_lens.observation import BatchNormState, Observation
from imbalance_lens.probes.abnormal_batchnorm import AbnormalBatchnorm, scan
from tests.data_folder import require
from tests.golden import NUMBERS

GOLDEN = NUMBERS["bn_scan"]
NONE = torch.empty(0)
values = st.sampled_from([0.0, 1e-12, 1e-6, 1e-3, 0.5, -1e-12, -1e-3, -0.5])
layers = st.lists(
    st.lists(st.tuples(values, values), min_size=1, max_size=5), min_size=1, max_size=4
)


def state(weight, bias, modality="", dtype=torch.float64):
    weight, bias = torch.tensor(weight, dtype=dtype), torch.tensor(bias, dtype=dtype)
    return BatchNormState(weight, bias, torch.zeros_like(bias), torch.ones_like(bias), modality)


def states(columns):
    layers = [list(zip(*pairs, strict=True)) for pairs in columns]
    return {f"net.{k}": state(weight, bias) for k, (weight, bias) in enumerate(layers)}


def seen(batchnorms, *, step=0, epoch=0):
    return Observation(NONE, NONE, ("a", "b"), step, epoch, batchnorms=batchnorms)


def observed(*observations, **settings):
    probe = AbnormalBatchnorm(**settings)
    for observation in observations:
        probe.observe(observation)
    return probe


def golden_layer():
    return {"bn": state(GOLDEN["gamma"], GOLDEN["beta"])}


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


def test_every_epoch_keeps_its_last_step():
    def after(weight):
        return {"bn": state([weight, 1.0], [0.0, 0.0])}

    probe = observed(
        seen(after(1e-12), step=0, epoch=0),
        seen(after(1.0), step=1, epoch=0),
        seen(after(1e-3), step=2, epoch=1),
        seen(after(1e-12), step=3, epoch=1),
        thresholds=(1e-10,),
    )
    found = probe.result()
    assert found["abnormal_count"].dims == ("epoch", "threshold", "layer")
    assert found["epoch"].values.tolist() == [0, 1]
    assert found["abnormal_count"].values.flatten().tolist() == [0, 1]
    assert found["total_ratio"].values.flatten().tolist() == [0, 0.5]
    assert found["weight_min"].values.flatten().tolist() == [1, 1e-12]
    assert found["weight"].dims == ("channel",)
    assert found["weight"].values.tolist() == [1e-12, 1]
    assert found["channels"].dims == ("layer",)


def test_one_epoch_of_the_probe_is_the_scan():
    found = observed(seen(golden_layer())).result()
    xr.testing.assert_identical(found.isel(epoch=0, drop=True), scan(golden_layer()))


def test_the_probe_copies_what_training_goes_on_changing():
    live = nn.BatchNorm1d(3)
    probe = observed(seen({"bn": BatchNormState(live.weight, live.bias, NONE, NONE)}))
    with torch.no_grad():
        live.weight.zero_()
    assert (probe.result()["abnormal_count"] == 0).all()


def test_of_an_epoch_seen_twice_the_later_step_wins_whatever_the_order():
    early = observed(seen({"bn": state([0.0], [0.0])}, step=1))
    late = observed(seen({"bn": state([1.0], [0.0])}, step=2))
    late.observe(seen({"bn": state([0.5], [0.0])}, step=3, epoch=1))
    one, other = observed(), observed()
    for probe, parts in ((one, (early, late)), (other, (late, early))):
        for part in parts:
            probe.merge(part)
    xr.testing.assert_identical(one.result(), other.result())
    assert one.result()["weight_min"].values.tolist() == [[1.0], [0.5]]


def test_a_layer_that_came_later_is_missing_from_earlier_epochs():
    first, second = (
        {"bn": state([0.0], [0.0])},
        {"bn": state([1.0], [0.0]), "new": state([0.0], [0.0])},
    )
    found = observed(seen(first), seen(second, epoch=1), thresholds=(1e-10,)).result()
    counts = found["abnormal_count"].squeeze("threshold").values
    np.testing.assert_array_equal(counts, [[1, np.nan], [0, 1]])
    assert found["channels"].values.tolist() == [1, 1]


def test_the_settings_are_kept_and_the_thresholds_stay_in_order():
    found = observed(seen(golden_layer()), thresholds=[1e-2, 1e-10], criterion="gamma").result()
    assert json.loads(found.attrs["settings"]) == {
        "thresholds": [1e-2, 1e-10],
        "criterion": "gamma",
    }
    assert found["threshold"].values.tolist() == [1e-2, 1e-10]


def test_settings_that_cannot_be_are_refused_at_once():
    with pytest.raises(SettingError, match="criterion='both' is not known"):
        AbnormalBatchnorm(criterion="both")
    for given_thresholds in ((), (1e-2, 1e-2), 1e-2, "1e-2"):
        with pytest.raises(SettingError, match="one or more different numbers, such as"):
            AbnormalBatchnorm(thresholds=given_thresholds)  # pyright: ignore
    with pytest.raises(SettingError, match=r"A threshold must be above 0; got -1\.0"):
        scan(golden_layer(), (1e-2, -1))


def test_a_model_without_batchnorm_gets_the_reason():
    with pytest.raises(NotApplicableError, match="no BatchNorm layer with weight and bias"):
        AbnormalBatchnorm().observe(seen({}))
    with pytest.raises(NotApplicableError, match="no BatchNorm layer with weight and bias"):
        scan({})
    with pytest.raises(NotAttachedError, match="has seen no batch yet"):
        AbnormalBatchnorm().result()


class TwoNets(nn.Module):
    def __init__(self):
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.visual = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU())
        self.norm = nn.BatchNorm1d(9)
        self.head = nn.Linear(9, 2)

    def forward(self, audio, visual):
        return self.head(self.norm(torch.cat([self.audio(audio), self.visual(visual)], 1)))


def batches(count=3):
    labels = torch.tensor([0, 1] * 4)
    return [
        ({"audio": torch.randn(8, 3), "visual": torch.randn(8, 3)}, labels) for _ in range(count)
    ]


def planted():
    """A model with three channels of its visual encoder switched off."""
    model = TwoNets()
    with torch.no_grad():
        model.get_parameter("visual.1.weight")[:3] = 0
        model.get_parameter("visual.1.bias")[:3] = 0
    return model, Anatomy(encoders={"audio": "audio", "visual": "visual"})


def test_a_training_run_is_followed_by_epoch():
    model, anatomy = planted()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Lens(model, anatomy, probes=["abnormal_batchnorm"]) as session:
        for _ in range(2):
            for inputs, labels in batches():
                loss = nn.functional.cross_entropy(model(**inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                session.step(labels)
                optimizer.step()
            session.epoch()
    found = session.dataset()
    assert found["layer"].values.tolist() == ["audio.1", "visual.1", "norm"]
    assert found["modality"].values.tolist() == ["audio", "visual", ""]
    found = found.sel(layer="visual.1", threshold=1e-10)
    # A ReLU's slope at 0 is 0, so a channel with scale and shift 0 gets no gradient at all.
    assert found["abnormal_count"].values.tolist() == [3, 3]
    assert found["abnormal_ratio"].values.tolist() == [0.6, 0.6]
