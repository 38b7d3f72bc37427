import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.calibration import calibration_curve

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import expected_calibration_error
from imbalance_lens.observation import Observation
from imbalance_lens.probes.calibration import Calibration

from .world import World


def answer(*seen: Observation, **settings) -> xr.Dataset:
    probe = Calibration(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def saying(labels, joint, **alone) -> Observation:
    return Observation(torch.as_tensor(labels), joint, tuple(alone), modality_logits=alone)


def odds(*confidences: float) -> torch.Tensor:
    """Logits of two classes, of which the first one has these probabilities."""
    sure = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([sure.log(), (1 - sure).log()], 1)


def test_by_hand_five_examples_in_two_bins():
    logits = odds(0.6, 0.7, 0.9, 0.9, 0.9)
    found = answer(saying([0, 1, 0, 0, 1], logits, a=logits, b=logits), bins=4).sel(head="a")
    assert found["bin"].values.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found["count"].values.tolist() == [0, 0, 2, 3]
    np.testing.assert_allclose(found["confidence"], [np.nan, np.nan, 0.65, 0.9])
    np.testing.assert_allclose(found["accuracy"], [np.nan, np.nan, 0.5, 2 / 3])
    assert found["error"].item() == pytest.approx((2 * 0.15 + 3 * (0.9 - 2 / 3)) / 5)
    assert found["maximum_error"].item() == pytest.approx(0.9 - 2 / 3)
    assert found["confidence_gap"].item() == pytest.approx(4.0 / 5 - 3 / 5)
    np.testing.assert_allclose(found["overconfidence"], found["error"])


def test_every_head_is_judged_by_its_own_logits():
    world = World(examples=300)
    found, seen = answer(world.see()), world.see()
    heads = {**seen.modality_logits, "joint": seen.logits}
    assert found["head"].values.tolist() == list(heads)
    for head, logits in heads.items():
        sure, predicted = logits.softmax(1).max(1)
        wanted = expected_calibration_error(sure, predicted == seen.labels)
        assert found["error"].sel(head=head).item() == pytest.approx(wanted.item())


def test_the_reliability_is_that_of_scikit_learn():
    torch.manual_seed(0)
    sure = torch.rand(500, dtype=torch.float64) * 0.5 + 0.5
    labels = (torch.rand(500) > sure**2).long()
    logits = odds(*sure.tolist())
    found = answer(saying(labels, logits, a=logits, b=logits), bins=10).sel(head="joint")
    accuracy, confidence = calibration_curve((labels == 0).numpy(), sure.numpy(), n_bins=10)
    filled = found["count"] > 0
    np.testing.assert_allclose(found["accuracy"][filled], accuracy)
    np.testing.assert_allclose(found["confidence"][filled], confidence)
    assert found["confidence_gap"] > 0


def test_a_model_that_is_shy_is_not_overconfident():
    logits = odds(*[0.6] * 10)
    found = answer(saying([0] * 10, logits, a=logits, b=logits))
    np.testing.assert_allclose(found["error"], 0.4)
    np.testing.assert_allclose(found["confidence_gap"], -0.4)
    assert (found["overconfidence"] == 0).all()


def test_sure_and_right_is_calibrated():
    logits = torch.tensor([[80.0, 0.0], [0.0, 80.0]])
    found = answer(saying([0, 1], logits, a=logits, b=logits))
    assert (found["error"] == 0).all()
    assert found["count"].sel(head="joint").values.tolist() == [0] * 14 + [2]


def test_nan_is_counted_in_no_bin_and_makes_the_errors_of_its_head_unknown():
    fine, broken = odds(0.7, 0.7), torch.tensor([[torch.nan, 0.0], [1.0, 0.0]])
    found = answer(saying([0, 0], fine, a=broken, b=fine))
    assert found["nonfinite"].values.tolist() == [1, 0, 0]
    assert found["count"].sum("bin").values.tolist() == [1, 2, 2]
    for name in ("error", "maximum_error", "confidence_gap", "overconfidence"):
        assert found[name].isnull().values.tolist() == [True, False, False]


def test_no_bins_are_refused():
    with pytest.raises(SettingError, match="bins must be a whole number above 0; got 0"):
        Calibration(bins=0)
