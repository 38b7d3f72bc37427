"""Settings of the wrong kind are refused where they are given, not in the middle of the data."""

import pytest
import torch

import imbalance_lens as lens
from imbalance_lens.errors import SettingError
from imbalance_lens.probes.abnormal_batchnorm import AbnormalBatchnorm
from imbalance_lens.probes.calibration import Calibration
from imbalance_lens.probes.dead_features import DeadFeatures
from imbalance_lens.probes.emap import Emap
from imbalance_lens.probes.gradient_conflict import GradientConflict
from imbalance_lens.probes.integrated_gradients import IntegratedGradients
from imbalance_lens.probes.linear_probe import LinearProbe
from imbalance_lens.probes.missing_modality import MissingModality
from imbalance_lens.probes.permutation import Permutation
from imbalance_lens.probes.shapley import Shapley
from imbalance_lens.probes.zero_out import ZeroOut

COUNTS = [
    (Calibration, "bins"),
    (Emap, "batches"),
    (GradientConflict, "batches"),
    (IntegratedGradients, "n_steps"),
    (LinearProbe, "folds"),
    (MissingModality, "exact_up_to"),
    (Permutation, "draws"),
    (Shapley, "order_pairs"),
    (Shapley, "exact_up_to"),
    (ZeroOut, "resamples"),
    (ZeroOut, "seed"),
]


@pytest.mark.parametrize("given", ["5", 2.5, None, -1, True])
@pytest.mark.parametrize(("probe", "name"), COUNTS)
def test_a_count_that_is_no_whole_number_is_refused(probe, name, given) -> None:
    with pytest.raises(SettingError, match=f"{name} must be a whole number.*got {given!r}"):
        probe(**{name: given})


@pytest.mark.parametrize("given", ["0.5", None])
@pytest.mark.parametrize(
    ("probe", "name"),
    [(LinearProbe, "C"), (ZeroOut, "confidence_level"), (DeadFeatures, "tolerance")],
)
def test_a_number_that_is_none_is_refused(probe, name, given) -> None:
    with pytest.raises(SettingError, match=f"{name} must.*got {given!r}"):
        probe(**{name: given})


@pytest.mark.parametrize("given", ["often", None, 0.5, ("a",)])
def test_rates_and_thresholds_are_numbers(given) -> None:
    with pytest.raises(SettingError, match="rates must be probabilities"):
        MissingModality(rates=given)
    with pytest.raises(SettingError, match="thresholds must be one or more different numbers"):
        AbnormalBatchnorm(thresholds=given)


@pytest.mark.parametrize("schedule", [lens.every, lens.log_spaced])
@pytest.mark.parametrize("given", ["50", 2.5, 0])
def test_schedules_take_whole_numbers(schedule, given) -> None:
    with pytest.raises(SettingError, match="must be a whole number above 0"):
        schedule(given)


def test_integrated_gradients_of_inputs_take_a_whole_number_of_steps() -> None:
    with pytest.raises(SettingError, match=r"n_steps must be a whole number above 0; got 2\.5"):
        lens.attribute_inputs(torch.nn.Identity(), torch.ones(1, 1), torch.tensor([0]), n_steps=2.5)  # pyright: ignore[reportArgumentType]
