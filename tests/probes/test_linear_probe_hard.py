"""What a linear probe says of features and examples that one cannot fit on."""

import numpy as np
import pytest
import torch
from torch import nn

from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.probes.linear_probe import LinearProbe

from .readable import CLASSES, NAMES, answer, drawn, seeing


def test_features_of_nan_count_as_wrong_and_hurt_no_other_modality():
    features, labels = drawn(200)
    clean = answer(seeing(features, labels))
    features["audio"][:20] = torch.nan
    features["audio"][20] = torch.inf
    found = answer(seeing(features, labels))
    assert found["nonfinite"].values.tolist() == [21, 0, 0, 21]
    assert found["accuracy"].sel(head="audio") <= (200 - 21) / 200
    assert found["accuracy"].sel(head="audio") > 0.8
    for name in ("visual", "text"):
        np.testing.assert_allclose(
            found["accuracy"].sel(head=name), clean["accuracy"].sel(head=name), atol=0.05
        )


def test_own_logits_of_nan_count_as_wrong():
    features, labels = drawn(50)
    own = dict.fromkeys(NAMES, 5 * nn.functional.one_hot(labels, CLASSES).float())
    own["text"] = own["text"].clone()
    own["text"][3] = torch.nan
    found = answer(seeing(features, labels, own))
    assert found["nonfinite"].values.tolist() == [0, 0, 1, 1]
    assert found["own_accuracy"].values.tolist() == [1, 1, 0.98, 0.98]


def test_an_encoder_that_gives_only_nan_is_read_by_nothing():
    features, labels = drawn(60)
    features["audio"][:] = torch.nan
    found = answer(seeing(features, labels))
    assert found["accuracy"].sel(head=["audio", "joint"]).values.tolist() == [0, 0]
    assert found["fit_accuracy"].sel(head="audio").isnull()
    assert not found["converged"].sel(head="audio")
    assert found["accuracy"].sel(head="visual") > 0.4


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1e4), (1e-20, 0.0), (1e15, 0.0)])
def test_size_and_offset_of_features_do_not_matter(scale, offset):
    expected = answer(seeing(*drawn(200)))["accuracy"]
    found = answer(seeing(*drawn(200, scale=scale, offset=offset)))
    np.testing.assert_allclose(found["accuracy"], expected, atol=0.02)
    assert found["converged"].values.all()


def test_features_that_never_change_say_nothing_and_break_nothing():
    features, labels = drawn(90)
    features["text"] = torch.full((90, 4), 3.0)
    found = answer(seeing(features, labels)).sel(head="text")
    assert found["accuracy"] == pytest.approx(found["majority"].item(), abs=0.1)


def test_a_fit_that_is_stopped_early_says_so():
    found = answer(seeing(*drawn(200)), max_iter=1)
    assert not found["converged"].values.any()


def test_a_class_with_few_examples_is_missing_in_some_folds_only():
    features, labels = drawn(60)
    labels[:] = 0
    labels[:30] = 1
    labels[0] = 2
    found = answer(seeing(features, labels))
    assert found["class_accuracy"].sel(label=2).values.tolist() == [0, 0, 0, 0]


def test_a_fold_with_one_class_left_predicts_that_one():
    features, _ = drawn(6)
    found = answer(seeing(features, torch.tensor([0, 0, 0, 0, 0, 1])), folds=5)
    assert found["class_accuracy"].sel(label=1).values.tolist() == [0, 0, 0, 0]
    assert found["accuracy"].sel(head="text") >= 0.5


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ([seeing(drawn(9)[0], torch.zeros(9, dtype=torch.long))], "have the same label"),
        ([seeing(drawn(3)[0], torch.arange(3))], "no class has two examples, one to fit"),
        ([seeing(*drawn(9), training=True)], "it has seen training examples only"),
        (
            [
                seeing(*drawn(9)),
                seeing(drawn(9)[0], torch.zeros(9, dtype=torch.long), training=True),
            ],
            "all examples to fit a classifier on have the same label",
        ),
    ],
    ids=["one class", "no two of a class", "nothing to test on", "one class to fit on"],
)
def test_too_little_to_fit_or_to_test_is_said(seen, reason):
    with pytest.raises(NotApplicableError, match=reason):
        answer(*seen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"C": 0.0}, "C must be above 0; got 0.0"),
        ({"max_iter": 0}, "max_iter must be a whole number above 0"),
        ({"max_examples": 0}, "max_examples must be a whole number above 0"),
        ({"folds": 1}, "folds must be a whole number, 2 or above; got 1"),
        ({"resamples": 0}, "resamples must be a whole number above 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        LinearProbe(**settings)
