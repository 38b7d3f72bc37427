import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import imbalance_lens as lens
from imbalance_lens.figures import FIGURES, plot_dead_features

from .looks import complaints

PROBES = ("abnormal_batchnorm", "dead_features")
DEPTH = 12


def block(width):
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.pretrained_backbone = nn.Sequential(*map(block, [4] * DEPTH))

    def forward(self, x):
        return self.pretrained_backbone(x)


class Deep(nn.Module):
    """Encoders of many layers, in containers of long names."""

    def __init__(self):
        super().__init__()
        names = ("audio_spectrogram", "visual_frames")
        self.modality_specific_encoders = nn.ModuleDict({name: Encoder() for name in names})
        self.head = nn.Linear(8, 3)

    def forward(self, **inputs):
        encoders = self.modality_specific_encoders
        return self.head(torch.cat([encoders[name](x) for name, x in inputs.items()], 1))


@pytest.fixture(scope="module")
def deep():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = ("audio_spectrogram", "visual_frames")
        model, inputs = Deep(), {name: torch.randn(16, 4) for name in names}
    encoders = {name: f"modality_specific_encoders.{name}" for name in inputs}
    batch = inputs, torch.arange(16) % 3
    return lens.diagnose(model, [batch], encoders, PROBES, progress=False).tree


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("width", [3.35, 6.9])
def test_long_paths_leave_room_for_the_bars(deep, probe, width):
    page = Figure(figsize=(width, 2.5), layout="constrained")
    ax = FIGURES.get(probe).plot(deep[probe].to_dataset(), ax=page.subplots())
    assert complaints(page) == []
    assert ax.get_position().height > 0.36


def test_a_layer_is_named_by_what_tells_it_from_the_others_of_its_modality(deep):
    ds = deep["dead_features"].to_dataset().isel(layer=[0, 1, DEPTH, DEPTH + 1])
    told = [label.get_text() for label in plot_dead_features(ds).get_xticklabels()]
    assert told == ["0.1", "1.1", "0.1", "1.1"]


def test_no_layer_is_named_by_a_number_alone(deep):
    ds = deep["dead_features"].to_dataset().isel(layer=[0, 1])
    ds = ds.assign_coords(layer=["encoders.audio.1 > relu", "encoders.audio.5 > relu"])
    told = [label.get_text() for label in plot_dead_features(ds).get_xticklabels()]
    assert told == ["audio.1", "audio.5"]


def test_numbers_have_a_word_in_front_where_there_is_room(deep):
    ds = deep["dead_features"].to_dataset().isel(layer=[0, 1])
    ds = ds.assign_coords(layer=["encoders.audio.0.1 > relu", "encoders.audio.3.1 > relu"])
    told = [label.get_text() for label in plot_dead_features(ds).get_xticklabels()]
    assert told == ["audio.0.1", "audio.3.1"]


def test_layers_that_differ_only_in_front_keep_their_names(deep):
    ds = deep["dead_features"].to_dataset().isel(layer=[0, 1])
    names = [f"{start}.the_same_long_ending_of_both" for start in ("one", "two")]
    ds = ds.assign_coords(layer=[f"{name} > relu" for name in names])
    told = [label.get_text() for label in plot_dead_features(ds).get_xticklabels()]
    assert len(set(told)) == 2
    assert [name[:3] for name in told] == ["one", "two"]


def test_layers_without_a_dead_channel_say_so(deep):
    ds = deep["dead_features"].to_dataset()
    none = ds.assign(dead_share=ds["dead_share"] * 0)
    none["dead_share"].attrs = ds["dead_share"].attrs
    assert [text.get_text() for text in plot_dead_features(none).texts] == ["0 in every layer"]
    some = none.assign(dead_share=none["dead_share"].copy(data=[0.1] + [0] * (2 * DEPTH - 1)))
    assert not plot_dead_features(some).texts
