import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import imbalance_lens as lens
from imbalance_lens import over_epochs
from imbalance_lens.errors import SchemaError, SettingError
from imbalance_lens.testing import planted


@pytest.fixture(scope="module")
def reports():
    """What a model is diagnosed with when its logits are small, and when they are not."""
    model, loader = planted("audio")
    found = []
    for scale in (0.1, 1.0):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= scale
        probes = ["linear_probe", "zero_out", "logit_norm"]
        found.append(lens.diagnose(model, loader, probes=probes, progress=False).tree)
    return found


def test_every_state_keeps_its_numbers(reports):
    states = [tree["linear_probe"].to_dataset() for tree in reports]
    found = over_epochs(states, [3, 7])
    for epoch, ds in zip((3, 7), states, strict=True):
        alone = found.sel(epoch=epoch, drop=True)
        xr.testing.assert_equal(alone, ds)
    assert found["accuracy"].dims == ("epoch", "head")
    assert found.attrs == states[1].attrs
    lens.schema.validate(found)


def test_a_single_epoch_counts_as_a_state(reports):
    states = [tree["logit_norm"].to_dataset() for tree in reports]
    assert states[0].sizes["epoch"] == 1
    found = over_epochs(states)
    assert found["mean_norm"].sizes["epoch"] == 2
    np.testing.assert_array_equal(found["mean_norm"][1], states[1]["mean_norm"][0])


def test_a_layer_that_a_state_does_not_have_is_unknown_there(tmp_path):
    nets = nn.Sequential(nn.BatchNorm1d(2)), nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(3))
    scans = []
    for net in nets:
        torch.save(net.state_dict(), tmp_path / "run.pt")
        scans.append(lens.scan_checkpoint(tmp_path / "run.pt"))
    found = over_epochs(scans)
    assert found["abnormal_ratio"].isnull().sum(("threshold", "layer")).values.tolist() == [3, 0]
    assert found["abnormal"].dtype.kind == "f"
    assert found["channel_layer"].values.tolist() == ["0", "0", "1", "1", "1"]


def test_what_is_not_alike_is_refused(reports):
    one, other = (tree["linear_probe"].to_dataset() for tree in reports)
    with pytest.raises(SchemaError, match=r"not of the same probe as the first: only one of them"):
        over_epochs([one, reports[0]["zero_out"].to_dataset()])
    with pytest.raises(SchemaError, match=r"made with the settings"):
        over_epochs([one, other.assign_attrs(settings="{}")])
    with pytest.raises(SchemaError, match=r"has epochs already"):
        over_epochs([over_epochs([one, other]), one])


@pytest.mark.parametrize("epochs", [[0], [0, 1, 2], [1, 1]])
def test_not_one_epoch_for_each_is_refused(reports, epochs):
    with pytest.raises(SettingError, match=r"as many different epochs; got 2 and"):
        over_epochs([tree["linear_probe"].to_dataset() for tree in reports], epochs)


def test_no_dataset_is_refused():
    with pytest.raises(SettingError, match=r"one or more datasets"):
        over_epochs([])


def test_what_is_no_dataset_is_refused(reports):
    one = reports[0]["linear_probe"].to_dataset()
    for wrong, told in (([one, reports[1]], "DataTree"), ([None], "NoneType"), (one, "str")):
        with pytest.raises(SettingError, match=rf"a {told} in it.*the answers of one probe"):
            over_epochs(wrong)
