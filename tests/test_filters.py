from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from imbalance_lens import load_weights, scan_checkpoint, scan_filters
from imbalance_lens.errors import NotApplicableError, UnknownNameError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.plain = nn.Conv2d(3, 5, 3)
        self.conv1 = nn.Conv2d(5, 4, (3, 2))
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv1d(4, 6, 5)
        self.bn2 = nn.BatchNorm1d(6)
        self.odd = nn.BatchNorm1d(5)
        self.video = nn.Conv3d(1, 6, (2, 3, 4))
        with torch.no_grad():
            self.bn1.weight[2], self.bn1.bias[2] = 1e-12, 1e-12
            self.bn1.weight[3], self.bn1.bias[3] = 1e-4, 1e-4


@pytest.fixture
def saved(tmp_path):
    torch.save({"state_dict": Net().state_dict()}, tmp_path / "run.pt")
    return tmp_path / "run.pt"


def test_the_first_convolution_in_front_of_a_batchnorm_is_taken(saved):
    found = scan_filters(saved)
    assert (found.attrs["layer"], found.attrs["batchnorm"]) == ("conv1", "bn1")
    wanted = load_weights(saved)["conv1.weight"].double().numpy()
    np.testing.assert_array_equal(found["filter"].values, wanted)
    assert found["filter"].dims == ("channel", "plane", "row", "column")
    assert list(found["channel"].values[:2]) == ["conv1:0", "conv1:1"]


def test_abnormal_filters_are_those_of_the_scan(saved):
    found, scanned = scan_filters(saved), scan_checkpoint(saved)
    own = scanned["abnormal"].isel(channel=scanned["channel_layer"].values == "bn1")
    np.testing.assert_array_equal(found["abnormal"].values, own.values)
    assert found["abnormal"].sum("channel").values.tolist() == [1, 1, 2]


def test_file_weights_and_model_give_the_same(saved):
    model = Net()
    model.load_state_dict(load_weights(saved))
    wanted = scan_filters(saved)
    for source in (load_weights(saved), model, nn.DataParallel(model)):
        assert scan_filters(source).identical(wanted)


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [("conv2", None, (6, 4, 1, 5)), ("video", "bn2", (6, 1, 6, 4)), ("plain", "odd", (5, 3, 3, 3))],
)
def test_any_convolution_can_be_named(saved, layer, norm, shape):
    assert scan_filters(saved, layer, norm)["filter"].shape == shape


@pytest.mark.parametrize("groups", [1, 2])
def test_filters_of_a_transposed_convolution_are_by_output(groups):
    up = nn.ConvTranspose2d(4, 6, (3, 2), groups=groups, bias=False)
    found = scan_filters(nn.Sequential(up, nn.BatchNorm2d(6)))["filter"].values
    with torch.no_grad():
        for source in range(4):
            one = nn.functional.one_hot(torch.tensor([source]), 4)[..., None, None].float()
            given = up(one)[0].double().numpy()  # (output, 3, 2), 0 for other groups
            own = range(6) if groups == 1 else range(source // 2 * 3, source // 2 * 3 + 3)
            np.testing.assert_array_equal(found[own, source % (4 // groups)], given[own])


def test_what_is_no_convolution_is_refused(saved):
    with pytest.raises(UnknownNameError, match=r"No convolution named 'conv'.*Known: plain, "):
        scan_filters(saved, "conv")
    with pytest.raises(UnknownNameError, match=r"No convolution named 'bn1'"):
        scan_filters(saved, "bn1")


def test_a_batchnorm_layer_of_another_width_is_refused(saved):
    with pytest.raises(UnknownNameError, match=r"as wide as 'conv1' named 'bn2'.*Known: bn1"):
        scan_filters(saved, "conv1", "bn2")
    with pytest.raises(UnknownNameError, match=r"as wide as 'video' named ''.*Known: bn2"):
        scan_filters(saved, "video")


def test_weights_without_a_pair_are_refused():
    net = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2, affine=False)))
    with pytest.raises(NotApplicableError, match=r"None of the 1 layers .* is a convolution with"):
        scan_filters(net)
