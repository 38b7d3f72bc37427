import numpy as np
import pytest
import torch
from torch import nn

from imbalance_lens import diagnose, feature_maps
from imbalance_lens.errors import BatchError, NotApplicableError, SettingError, UnknownNameError
from imbalance_lens.testing import assert_passive


class Two(nn.Module):
    """Two encoders with a convolution, a BatchNorm layer and a ReLU in place each."""

    def __init__(self):
        super().__init__()
        self.ear = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(inplace=True))
        self.eye = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.head = nn.Linear(8, 3)
        with torch.no_grad():
            for layer in (*self.ear, *self.eye):
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    layer.weight[0], layer.bias[0] = 0, -1
                    nn.init.constant_(layer.get_buffer("running_mean"), 0.1)

    def forward(self, ear, eye):
        ear, eye = self.ear(ear), self.eye(eye)
        ear += 1  # writes over what the ReLU gave
        eye *= 0
        return self.head(torch.cat([ear.mean(2), eye.mean((2, 3))], 1)).relu()


@pytest.fixture
def two():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Two(), {"ear": torch.randn(6, 1, 12), "eye": torch.randn(6, 3, 8, 10)}


def maps_of(two, place, **settings):
    model, inputs = two
    return feature_maps(model, inputs, place, **settings)


def test_maps_are_what_the_layer_gives_before_anything_writes_over_it(two):
    model, inputs = two
    found = feature_maps(model, inputs, "eye.1 > relu")
    model.eval()
    with torch.no_grad():
        wanted = model.eye(inputs["eye"]).numpy()
    np.testing.assert_array_equal(found["activation"].values, wanted)
    assert found["activation"].dims == ("example", "channel", "row", "column")
    assert found["dead"].values[:, 0].all()
    assert list(found["channel"].values[:2]) == ["eye.1 > relu:0", "eye.1 > relu:1"]


def test_a_signal_has_maps_of_one_row(two):
    found = maps_of(two, "ear.1 > relu")
    assert dict(found.sizes) == {"example": 6, "channel": 4, "row": 1, "column": 10}


def test_dead_rates_are_those_of_the_probe(two):
    model, inputs = two
    batch = inputs, torch.arange(6) % 3
    encoders = {"ear": "ear", "eye": "eye"}
    probed = diagnose(model, [batch], encoders, ["dead_features"], progress=False)
    ds = probed.tree["dead_features"].to_dataset()
    for place in ("ear.1 > relu", "eye.1 > relu"):
        own = ds["dead_rate"].values[ds["channel_layer"].values == place]
        assert feature_maps(model, inputs, place)["dead_rate"].values == pytest.approx(own)


def test_statistics_of_the_batch_are_used_where_asked_for(two):
    model, inputs = two
    kinds = [
        feature_maps(model, inputs, "eye.1 > relu", bn_stats=kind)["activation"].values
        for kind in ("running", "batch")
    ]
    model.train()
    with torch.no_grad():
        wanted = model.eye(inputs["eye"]).numpy()
    np.testing.assert_allclose(kinds[1], wanted, rtol=1e-5, atol=1e-6)
    assert np.abs(kinds[0] - kinds[1]).max() > 0.01


def test_frames_that_were_folded_into_the_batch_are_one_below_the_other():
    class Video(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())

        def forward(self, x):
            return self.net(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean((1, 3, 4))

    model, x = Video(), torch.randn(4, 3, 1, 6, 7)
    found = feature_maps(model, x, "net.0 > relu")["activation"]
    assert found.shape == (4, 2, 3 * 4, 5)
    with torch.no_grad():
        second = model.net(x[1, 2:3])[0].numpy()
    np.testing.assert_allclose(found[1, :, 8:], second, rtol=1e-5, atol=1e-6)


def test_nothing_about_the_model_changes(two):
    model, inputs = two
    with assert_passive(model):
        feature_maps(model, inputs, "eye.1 > relu")


def test_an_unknown_place_is_refused_with_the_known_ones(two):
    known = r"Did you mean 'eye.1 > relu'.*Known: ear.1 > relu, eye.1 > relu, head > relu"
    with pytest.raises(UnknownNameError, match=rf"No activation named 'eye.2 > relu'.*{known}"):
        maps_of(two, "eye.2 > relu")


def test_a_place_goes_without_its_function(two):
    assert maps_of(two, "eye.1").identical(maps_of(two, "eye.1 > relu"))


def test_a_later_call_goes_without_its_function_too():
    convolution = nn.Conv2d(1, 1, 3, padding=1)
    net = nn.Sequential(convolution, nn.ReLU(), convolution, nn.ReLU())
    first, second = (feature_maps(net, torch.randn(2, 1, 5, 5), f"0{call}") for call in ("", "#1"))
    assert [ds.attrs["place"] for ds in (first, second)] == ["0 > relu", "0#1 > relu"]


def test_a_batch_without_examples_is_refused(two):
    model, inputs = two
    with pytest.raises(BatchError, match="The inputs hold no example"):
        feature_maps(model, {name: values[:0] for name, values in inputs.items()}, "eye.1")


def test_single_numbers_are_no_maps(two):
    with pytest.raises(NotApplicableError, match="'head > relu' gives one number per channel"):
        maps_of(two, "head > relu")


def test_unknown_statistics_are_refused(two):
    with pytest.raises(SettingError, match="bn_stats='moving' is not known"):
        maps_of(two, "eye.1 > relu", bn_stats="moving")
