"""FusT says what it cannot do, and what will change nothing."""

import math

import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.utils.data import DataLoader

from imbalance_lens.errors import (
    NoEffectWarning,
    NotApplicableError,
    SettingError,
)
from recipes.fust import FusT

from .trainings import (
    CLASSES,
    AudioVisual,
    data_of,
    model_of,
)
from .two_stages import fitted, fust, given_confidences


def test_a_training_in_which_nothing_is_masked_is_told_of():
    with pytest.warns(NoEffectWarning, match="no input is masked"):
        fit = fitted(fust(threshold=0.9999))
    assert (fit.history["mask_ratio"][2] == 0).all()


def test_inputs_of_whole_numbers_cannot_be_masked():
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.audio, self.text = nn.Linear(5, 8), nn.EmbeddingBag(9, 8)
            self.head = nn.Linear(16, CLASSES)

        def forward(self, audio: Tensor, text: Tensor) -> Tensor:
            return self.head(torch.cat([self.audio(audio), self.text(text)], 1))

    audio, _, labels = data_of().tensors
    torch.manual_seed(0)
    loader = DataLoader(torch.utils.data.TensorDataset(audio, torch.randint(9, (24, 6)), labels), 8)
    anatomy = {"audio": "audio", "text": "text"}
    with pytest.raises(NotApplicableError, match=r"inputs of 'text' \(int64 \(8, 6\)\) hold no"):
        fitted(fust(), model_of(Words), loader, anatomy=anatomy)
    heard = fitted(fust(rho={"audio": 1.0, "text": 0.0}), model_of(Words), loader, anatomy=anatomy)
    assert float(heard.history["mask_ratio"].sel(modality="text")[2]) == 0


def test_inputs_of_unknown_modalities_are_asked_for():
    anatomy = {"sound": "audio", "sight": "visual"}
    with pytest.raises(NotApplicableError, match="not known which inputs feed 'sound'"):
        fitted(fust(), anatomy=anatomy)


def test_a_head_that_is_not_known_stays():
    class Summed(AudioVisual):
        def __init__(self) -> None:
            super().__init__()
            self.head = None
            self.audio[0], self.visual[0] = nn.Linear(5, CLASSES), nn.Linear(4, CLASSES)

        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return self.audio(audio) + self.visual(visual)

    with pytest.warns(NoEffectWarning, match="No head that can be initialized anew"):
        fitted(fust(masking="none"), model_of(Summed))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unimodal_epochs": 3}, "epochs=3 leaves none for the second stage"),
        ({"unimodal_epochs": {"audio": 1}}, "unimodal_epochs must have the modalities"),
        ({"patches": {"smell": (1,)}}, "patches names 'smell'"),
        ({"learning_rates": {"smell": 1}}, "learning_rates names 'smell'"),
        ({"patches": {"audio": (9,)}}, "do not fit an input of shape"),
        ({"confidences": xr.Dataset()}, "must have a variable 'confidence'"),
        (
            {"confidences": given_confidences().assign_coords(modality=["audio", "text"])},
            "are of audio, text, and the model has audio, visual",
        ),
    ],
)
def test_settings_that_do_not_fit_the_training_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        fitted(FusT(**{"unimodal_epochs": 2, **settings}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unimodal_epochs": 0}, "leaves out the stage in which confidences are measured"),
        ({"unimodal_epochs": -1}, "unimodal_epochs must be a whole number above 0"),
        ({"unimodal_epochs": 1.5}, "unimodal_epochs must be a whole number above 0"),
        ({"masking": "all"}, "masking='all' is not known"),
        ({"rho": 1.5}, "rho must lie from 0 to 1"),
        ({"rho": {"a": math.nan}}, "rho must be 0 or more"),
        ({"eta": -1}, "eta must be 0 or more"),
        ({"patches": {"a": (0,)}}, "patches must have a size above 0"),
        ({"learning_rates": {"a": -1}}, "learning_rates must be 0 or more"),
        ({"start_epoch": 1}, "divides the whole training into two stages"),
        ({"online": True, "unaugmented": []}, "Pass one of them"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        FusT(**settings)


def test_a_training_of_one_epoch_has_no_two_stages():
    with pytest.raises(SettingError, match="epochs=1 leaves none for the second stage"):
        fitted(FusT(), epochs=1)
