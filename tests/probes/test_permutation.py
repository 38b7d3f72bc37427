from collections import defaultdict
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.special import rel_entr, softmax
from sklearn.inspection import permutation_importance

from imbalance_lens.anatomy.fills import derangement
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.observation import NO_LABELS, Observation
from imbalance_lens.probes.permutation import Permutation

from .heads import Asked, nonlinear, seeing, stored_bytes
from .world import World

NAMES = ("audio", "visual", "text")


def answer(*seen: Observation, **settings) -> xr.Dataset:
    probe = Permutation(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def planted(examples: int = 40, classes: int = 4) -> Observation:
    """A head that hears "audio" only, and hears the true class there."""
    labels = torch.arange(examples) % classes
    shown = 4 * torch.nn.functional.one_hot(labels, classes).float()
    features = {"audio": shown, "visual": torch.randn(examples, classes)}
    return seeing(lambda given: given["audio"] + 0 * given["visual"], features, labels)


def test_scores_are_those_of_a_loop_over_draws_and_examples():
    head, features, labels = nonlinear(NAMES, examples=30)
    found = answer(seeing(head, features, labels), draws=3)
    rows = softmax(head(features).numpy(), axis=1)
    majority = np.bincount(labels).max() / 30
    right = [row.argmax() == label for row, label in zip(rows, labels.tolist(), strict=True)]
    for place, name in enumerate(NAMES):
        by_draw: dict[str, list[float]] = defaultdict(list)
        for draw in range(3):
            order = derangement(30, seed=draw * 3 + place)
            others = softmax(head({**features, name: features[name][order]}).numpy(), axis=1)
            pairs = list(zip(rows, others, strict=True))
            correct = [q.argmax() == y for q, y in zip(others, labels.tolist(), strict=True)]
            by_draw["exchanged_accuracy"].append(fmean(correct))
            by_draw["flip_rate"].append(fmean(p.argmax() != q.argmax() for p, q in pairs))
            by_draw["divergence"].append(fmean(rel_entr(p, q).sum() for p, q in pairs))
        of = found.sel(modality=name)
        for quantity, draws in by_draw.items():
            np.testing.assert_allclose(of[f"{quantity}_by_draw"], draws, atol=1e-9)
            np.testing.assert_allclose(of[f"{quantity}_std"], stdev(draws), atol=1e-9)
            np.testing.assert_allclose(of[quantity], fmean(draws), atol=1e-6)
        drop = fmean(right) - fmean(by_draw["exchanged_accuracy"])
        np.testing.assert_allclose(of["drop"], drop, atol=1e-6)
        np.testing.assert_allclose(of["relative_drop"], drop / fmean(right), atol=1e-6)
        np.testing.assert_allclose(of["task_drop"], drop / (1 - majority), atol=1e-6)
    np.testing.assert_allclose(found["majority"], majority)
    np.testing.assert_allclose(found["accuracy"], fmean(right))


def test_the_drop_is_about_the_permutation_importance_of_scikit_learn():
    head, features, labels = nonlinear(("audio", "visual"), examples=400)
    # scikit-learn permutes one column, so each modality's features get a column that finds them.
    columns = np.stack([np.arange(400.0)] * 2, 1)

    def score(estimator, given, wanted) -> float:
        rows = given.astype(int)
        chosen = {name: x[rows[:, k]] for k, (name, x) in enumerate(features.items())}
        return (head(chosen).argmax(1).numpy() == wanted).mean()

    class Fitted:
        def fit(self) -> None: ...

    found = answer(seeing(head, features, labels), draws=20)
    expected = permutation_importance(
        Fitted(), columns, labels.numpy(), scoring=score, n_repeats=20, random_state=0
    )
    importances = np.asarray(expected["importances_mean"])  # pyright: ignore
    np.testing.assert_allclose(found["drop"], importances, atol=0.02)


def test_a_modality_without_a_say_costs_nothing_and_the_only_one_costs_all():
    found = answer(planted())
    silent, heard = found.sel(modality="visual"), found.sel(modality="audio")
    for name in ("drop", "relative_drop", "task_drop", "flip_rate", "divergence"):
        assert silent[name] == 0
        assert silent[f"{name}_interval"].values.tolist() == [0, 0]
    assert found["accuracy"] == 1
    assert heard["drop"] > 0.6
    np.testing.assert_allclose(heard["drop"], heard["flip_rate"])
    np.testing.assert_allclose(heard["task_drop"], heard["drop"] / 0.75)
    gap = found["drop_gap_interval"].sel(modality="audio", other="visual", bound="low")
    assert gap > 0.3


def test_without_labels_the_change_is_measured_and_accuracies_are_unknown():
    seen = planted()
    found = answer(replace(seen, labels=NO_LABELS))
    labeled = answer(seen)
    assert (found.attrs["labeled"], labeled.attrs["labeled"]) == ("false", "true")
    for name in labeled.data_vars:
        if str(name).startswith(("flip_rate", "divergence")):
            xr.testing.assert_identical(found[name], labeled[name])
        else:
            assert found[name].isnull().all(), name


def test_one_batch_without_labels_makes_accuracies_unknown():
    found = answer(planted(), replace(planted(), labels=NO_LABELS))
    assert found["accuracy"].isnull()
    assert found["majority"].isnull()
    assert found["flip_rate"].notnull().all()


def test_each_modality_is_exchanged_once_per_draw_and_nothing_else_is_asked_for():
    head, features, labels = nonlinear(NAMES)
    asked: Asked = []
    probe = Permutation(draws=4)
    probe.observe(seeing(head, features, labels, asked=asked))
    everyone = frozenset(NAMES)
    assert set(asked) == {(everyone - {m}, "permute", draw) for m in NAMES for draw in range(4)}
    assert len(asked) == 12


def test_more_draws_only_add_draws():
    head, features, labels = nonlinear(NAMES)
    few, many = (answer(seeing(head, features, labels), draws=draws) for draws in (2, 4))
    both = many["flip_rate_by_draw"].sel(draw=[0, 1])
    xr.testing.assert_equal(both, few["flip_rate_by_draw"])
    single = answer(seeing(head, features, labels), draws=1)
    assert single["drop"].notnull().all()
    assert single["exchanged_accuracy_std"].isnull().all()


def test_a_batch_of_one_example_is_left_out_and_counted():
    head, features, labels = nonlinear(NAMES, examples=9)
    parts = [
        seeing(head, {m: x[rows] for m, x in features.items()}, labels[rows])
        for rows in torch.arange(9).split([4, 1, 4])
    ]
    found = answer(*parts)
    assert (found.attrs["examples"], found.attrs["left_out"]) == (8, 1)
    xr.testing.assert_equal(found, answer(parts[0], parts[2]))
    probe, other = Permutation(), Permutation()
    probe.observe(parts[1])
    other.merge(probe)
    for each in (probe, other):
        with pytest.raises(NotApplicableError, match="every batch has one example only"):
            each.result()


def test_a_model_that_is_never_right_has_no_relative_drop():
    labels = torch.zeros(6, dtype=torch.int64)
    features = {"a": torch.tensor([[0.0, 9.0]]).expand(6, 2), "b": torch.zeros(6, 2)}
    found = answer(seeing(lambda given: given["a"] + given["b"], features, labels))
    assert (found["accuracy"] == 0).all()
    assert found["relative_drop"].isnull().all()
    assert found["task_drop"].isnull().all()  # there is one class only, so nothing to gain


def test_a_class_that_only_exchanged_answers_rule_out_is_infinitely_far_away():
    features = {"a": torch.tensor([[0.0, 0.0], [0.0, -torch.inf]]), "b": torch.zeros(2, 2)}
    found = answer(seeing(lambda given: given["a"] + given["b"], features, torch.tensor([0, 0])))
    assert found["divergence"].values.tolist() == [np.inf, 0]
    assert found["divergence_interval"].isnull().sum() == 2
    assert found["flip_rate"].values.tolist() == [0, 0]


def test_nan_is_a_wrong_answer_and_an_unknown_change():
    found = answer(World().see(nan=True))
    assert found["accuracy"] == answer(World().see())["accuracy"] or found["accuracy"] < 1
    for name in ("flip_rate", "divergence"):
        assert found[name].isnull().all()
    assert found["drop"].notnull().all()


def test_the_intervals_hold_the_scores():
    found = answer(World(NAMES, examples=60).see())
    for name in ("drop", "relative_drop", "task_drop", "flip_rate", "divergence", "drop_gap"):
        ends = found[f"{name}_interval"]
        assert (ends.sel(bound="low") <= found[name] + 1e-12).all()
        assert (found[name] <= ends.sel(bound="high") + 1e-12).all()


def test_the_bytes_per_example_are_those_of_the_docstring():
    probe = Permutation()
    probe.observe(World(NAMES).see())
    assert stored_bytes(probe) == 24 * (12 + 12 * 3)


def test_no_draws_are_refused():
    with pytest.raises(SettingError, match="draws must be a whole number above 0; got 0"):
        Permutation(draws=0)
