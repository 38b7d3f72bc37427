from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from .readable import CLASSES, NAMES, answer, drawn, seeing

HEADS = [*NAMES, "joint"]


def classifier() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))


def together(features: dict[str, Tensor]) -> dict[str, np.ndarray]:
    rows = {name: values.double().numpy() for name, values in features.items()}
    return {**rows, "joint": np.concatenate(list(rows.values()), 1)}


def test_with_training_examples_it_is_scikit_learn_fitted_on_these_and_tested_on_the_others():
    (fit, fit_labels), (test, test_labels) = drawn(300, seed=1), drawn(200, seed=2)
    found = answer(seeing(test, test_labels), seeing(fit, fit_labels, training=True))
    for head in HEADS:
        model = classifier().fit(together(fit)[head], fit_labels)
        at = found.sel(head=head)
        right = model.predict(together(test)[head]) == test_labels.numpy()
        np.testing.assert_allclose(at["accuracy"], right.mean(), atol=1 / 200)
        np.testing.assert_allclose(
            at["fit_accuracy"], model.score(together(fit)[head], fit_labels), atol=1 / 300
        )
        for label in range(CLASSES):
            expected = right[test_labels.numpy() == label].mean()
            np.testing.assert_allclose(at["class_accuracy"].sel(label=label), expected, atol=1 / 50)
    assert found.attrs["protocol"] == "train"
    assert (found.attrs["examples"], found.attrs["fit_examples"]) == (200, 300)
    assert found["class_examples"].values.tolist() == np.bincount(test_labels).tolist()
    assert found["majority"] == np.bincount(test_labels).max() / 200
    assert found["channels"].values.tolist() == [4, 4, 4, 12]
    assert found["converged"].values.all()


def test_without_them_every_example_is_predicted_by_classifiers_that_have_not_seen_it():
    features, labels = drawn(300)
    found = answer(seeing(features, labels), folds=4)
    parts = StratifiedKFold(4, shuffle=True, random_state=7)
    for head in HEADS:
        scores = cross_val_score(classifier(), together(features)[head], labels, cv=parts)
        # other folds, so the same but for the luck of the draw
        np.testing.assert_allclose(found["accuracy"].sel(head=head), scores.mean(), atol=0.07)
    assert found.attrs["protocol"] == "cross_validation"
    assert (found.attrs["examples"], found.attrs["fit_examples"]) == (300, 300)


def test_noise_is_not_learned_by_heart():
    draw = torch.Generator().manual_seed(0)
    wide = {name: torch.randn(200, 150, generator=draw) for name in NAMES}
    found = answer(seeing(wide, torch.arange(200) % 2))
    assert (found["fit_accuracy"] == 1).all()
    assert (abs(found["accuracy"] - 0.5) < 0.15).all()


def test_the_gap_is_what_the_model_leaves_unread_in_its_own_features():
    features, labels = drawn(300)
    right = 5 * nn.functional.one_hot(labels, CLASSES).float()
    wrong = right.roll(1, 1)
    found = answer(seeing(features, labels, {"audio": wrong, "visual": right, "text": wrong * 0}))
    own = [0, 1, (labels == 0).float().mean().item(), (labels == 0).float().mean().item()]
    assert found["own_accuracy"].values.tolist()[:3] == pytest.approx(own[:3])
    np.testing.assert_allclose(found["gap"], found["accuracy"] - found["own_accuracy"])
    low, high = found["gap_interval"].sel(head="audio")
    assert low > 0.9
    assert high <= 1
    low, high = found["gap_interval"].sel(head="visual")
    assert high < 0
    assert abs(found["gap"].sel(head="text")) < 0.15


def test_the_gap_is_drawn_in_pairs():
    features, labels = drawn(300)
    model = classifier().fit(together(features)["visual"], labels)
    own = torch.from_numpy(model.decision_function(together(features)["visual"]))
    fit = seeing(features, labels, training=True)
    found = answer(seeing(features, labels, dict.fromkeys(NAMES, own)), fit).sel(head="visual")
    assert found["gap"] == 0
    assert found["gap_interval"].values.tolist() == [0, 0]
    assert found["accuracy_interval"].values[0] < found["accuracy_interval"].values[1]


@pytest.mark.parametrize("settings", [{}, {"max_examples": 50}])
def test_how_the_examples_are_split_into_batches_changes_nothing(settings):
    features, labels = drawn(120)

    def batches(size: int):
        for rows in torch.arange(120).split(size):
            part = {name: values[rows] for name, values in features.items()}
            for training in (False, True):
                yield seeing(part, labels[rows], training=training)

    answers = [answer(*batches(size), **settings) for size in (1, 7, 120)]
    assert answers[0].identical(answers[1])
    assert answers[0].identical(answers[2])
    assert answers[0].attrs["examples"] == settings.get("max_examples", 120)
    assert answers[0].attrs["examples_shown"] == 120
    assert answers[0].attrs["fit_examples_shown"] == 120


def test_neither_the_order_of_the_examples_nor_that_of_the_modalities_changes_a_fold():
    features, labels = drawn(120)
    mixed = torch.randperm(120, generator=torch.Generator().manual_seed(5))
    backwards = {name: features[name][mixed] for name in reversed(NAMES)}
    one = answer(seeing(features, labels))
    other = answer(seeing(backwards, labels[mixed])).sel(head=HEADS)
    for name in ("accuracy", "class_accuracy", "fit_accuracy", "gap_interval"):
        np.testing.assert_allclose(one[name], other[name], atol=1e-12, err_msg=name)


def test_another_seed_draws_other_folds_and_no_global_random_number_is_used():
    features, labels = drawn(90)
    state = str(np.random.get_state())  # noqa: NPY002 - the global one
    one, again, other = (answer(seeing(features, labels), seed=seed) for seed in (0, 0, 1))
    assert one.identical(again)
    assert not one["accuracy"].equals(other["accuracy"])
    assert str(np.random.get_state()) == state  # noqa: NPY002
