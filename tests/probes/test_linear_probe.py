import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.observation import Observation
from imbalance_lens.probes.linear_probe import LinearProbe
from imbalance_lens.testing import assert_passive

NAMES = ("audio", "visual", "text")
HEADS = [*NAMES, "joint"]
CLASSES = 3


def drawn(
    examples: int, *, seed: int = 0, scale: float = 1.0, offset: float = 0.0
) -> tuple[dict[str, Tensor], Tensor]:
    """Features that show the class clearly, hardly, and not at all; and the labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (examples,), generator=draw)
    shown = nn.functional.one_hot(labels, CLASSES).float()
    noise = (torch.randn(examples, 4, generator=draw) for _ in NAMES)
    features = {
        name: scale * (torch.nn.functional.pad(height * shown, (0, 1)) + n) + offset
        for name, height, n in zip(NAMES, (4.0, 1.0, 0.0), noise, strict=True)
    }
    return features, labels


def seeing(
    features: dict[str, Tensor],
    labels: Tensor,
    own: dict[str, Tensor] | None = None,
    *,
    training: bool = False,
) -> Observation:
    silent = torch.zeros(len(labels), CLASSES)
    own = dict.fromkeys(features, silent) if own is None else own
    return Observation(
        labels=labels,
        logits=sum(own.values(), silent),
        modalities=tuple(features),
        features=features,
        modality_logits=own,
        training=training,
    )


def observed(*seen: Observation, **settings) -> LinearProbe:
    probe = LinearProbe(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe


def answer(*seen: Observation, **settings):
    return observed(*seen, **settings).result()


def classifier() -> object:
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
    assert found["width"].values.tolist() == [4, 4, 4, 12]
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
    assert found["accuracy_interval"][0] < found["accuracy_interval"][1]


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


def test_another_seed_draws_other_folds_and_no_global_random_number_is_used():
    features, labels = drawn(90)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one
    one, again, other = (answer(seeing(features, labels), seed=seed) for seed in (0, 0, 1))
    assert one.identical(again)
    assert not one["accuracy"].equals(other["accuracy"])
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


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
        ({"max_iter": 0}, "max_iter must be above 0"),
        ({"max_examples": 0}, "max_examples must be above 0"),
        ({"folds": 1}, "folds must be 2 or more; got 1"),
        ({"resamples": 0}, "resamples must be above 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        LinearProbe(**settings)


class Net(nn.Module):
    """A model that has learned to look at one modality only."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.audio = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True))
        self.visual = nn.Sequential(nn.Linear(4, 8), nn.Dropout())
        self.text = nn.Linear(4, 8)
        self.head = nn.Linear(24, CLASSES)
        with torch.no_grad():
            self.head.weight[:, 8:] *= 1e-3

    def forward(self, audio: Tensor, visual: Tensor, text: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual), self.text(text)], 1))


WHO = {name: name for name in NAMES}


def loader(examples: int, seed: int) -> torch.utils.data.DataLoader:
    features, labels = drawn(examples, seed=seed)
    data = torch.utils.data.TensorDataset(*features.values(), labels)
    generator = torch.Generator().manual_seed(3)
    return torch.utils.data.DataLoader(data, 32, shuffle=True, generator=generator)


def test_a_diagnosis_fits_on_its_training_examples_and_changes_nothing():
    model, train, test = Net(), loader(160, seed=1), loader(96, seed=2)
    calls = {"audio": 0, "head": 0}
    for name in calls:
        model.get_submodule(name).register_forward_hook(
            lambda *_, name=name: calls.update({name: calls[name] + 1})
        )
    lens.diagnose(model, test, WHO, ["linear_probe"])
    without = dict(calls)
    states = [data.generator.get_state() for data in (train, test)]
    with assert_passive(model):
        report = lens.diagnose(model, test, WHO, ["linear_probe"], train=train)
    assert all(map(torch.equal, states, (data.generator.get_state() for data in (train, test))))
    found = report.tree["linear_probe"]
    assert found.attrs["protocol"] == "train"
    assert (found.attrs["examples"], found.attrs["fit_examples"]) == (96, 160)
    assert report.tree.attrs["examples"] == 96
    assert '"training_examples": 160' in report.tree.attrs["settings"]
    # Five batches to fit on take one pass each, and no set of modalities.
    assert calls["audio"] - 2 * without["audio"] == 5
    assert calls["head"] - 2 * without["head"] == 5
    assert found["gap_interval"].sel(head="visual", bound="low") > 0.05


def test_a_diagnosis_says_the_same_of_all_else_with_training_examples():
    names = ["logit_norm", "zero_out"]
    for name in names:
        plain, more = (
            lens.diagnose(Net(), loader(96, 2), WHO, [*names, "linear_probe"], train=train)
            for train in (None, loader(160, 1))
        )
        assert plain.tree[name].to_dataset().identical(more.tree[name].to_dataset())
    assert plain.tree["linear_probe"].attrs["protocol"] == "cross_validation"
    assert '"training_examples": 0' in plain.tree.attrs["settings"]


def test_training_examples_are_not_read_where_no_probe_looks_at_them():
    def unread():
        raise OSError("read")
        yield

    report = lens.diagnose(Net(), loader(96, 2), WHO, ["zero_out"], train=unread())
    assert '"training_examples": 0' in report.tree.attrs["settings"]
    with pytest.raises(OSError, match="read"):
        lens.diagnose(Net(), loader(96, 2), WHO, ["linear_probe"], train=unread())


def test_no_training_batch_is_said():
    with pytest.raises(lens.errors.BatchError, match="The loader of training examples gave no"):
        lens.diagnose(Net(), loader(96, 2), WHO, ["linear_probe"], train=[])


def test_a_training_is_followed_epoch_by_epoch_on_fixed_examples():
    model, train, test = Net().train(), loader(160, seed=1), loader(96, seed=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lens.Lens(model, WHO, ["linear_probe"]) as session:
        for _ in range(2):
            for *inputs, labels in train:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(*inputs), labels).backward()
                session.step(labels)
                optimizer.step()
            session.look(train, training=True)
            session.look(test)
            session.epoch()
        found = session.dataset()
    assert found["accuracy"].dims == ("epoch", "head")
    assert found.attrs["examples"] == 96  # of one epoch, and no step of the training among them
    model.eval()
    after = lens.diagnose(model, test, WHO, ["linear_probe"], train=train).tree["linear_probe"]
    np.testing.assert_allclose(found["accuracy"].isel(epoch=-1), after["accuracy"], atol=1e-12)
