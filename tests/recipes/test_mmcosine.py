"""MMCosine: logits of directions alone, in whatever order the features are put together."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import recipes
from imbalance_lens import Anatomy
from imbalance_lens.errors import AnatomyError, NotApplicableError, SettingError
from recipes.mmcosine import CosineHead, MMCosine, cosine_logits

from .trainings import AudioVisual, Fused, Gated, data_of, loader_of, model_of, sgd, trained

GIVEN: dict[str, Any] = {"epochs": 2, "optimizer": sgd, "seed": 0, "device": "cpu"}
NAMED = {"audio": "audio", "visual": "visual"}


class Swapped(AudioVisual):
    """Puts the second modality first, and has encoders of different widths."""

    def __init__(self):
        super().__init__()
        self.audio, self.visual, self.head = nn.Linear(5, 2), nn.Linear(4, 6), nn.Linear(8, 3)

    def forward(self, audio, visual):
        return self.head(torch.cat([self.visual(visual), self.audio(audio)], dim=1))


class Summed(AudioVisual):
    """Adds the features up."""

    def __init__(self):
        super().__init__(head=nn.Linear(8, 3))

    def forward(self, audio, visual):
        return self.head(self.audio(audio) + self.visual(visual))


def slow_logits(features, weights, scale):
    """The paper's formula, one number at a time."""
    rows = []
    for b in range(len(next(iter(features.values())))):
        row = []
        for y in range(len(next(iter(weights.values())))):
            total = 0.0
            for name in features:
                phi, w = features[name][b].tolist(), weights[name][y].tolist()
                dot = sum(p * q for p, q in zip(phi, w, strict=True))
                lengths = math.hypot(*phi) * math.hypot(*w)
                total += scale * dot / lengths
            row.append(total)
        rows.append(row)
    return torch.tensor(rows)


def parts_of(seed, widths=(2, 3), batch=4, classes=3):
    draw = torch.Generator().manual_seed(seed)
    names = "ab"
    features = {
        n: torch.randn(batch, w, generator=draw) for n, w in zip(names, widths, strict=True)
    }
    weights = {
        n: torch.randn(classes, w, generator=draw) for n, w in zip(names, widths, strict=True)
    }
    return features, weights


def test_a_cosine_worked_by_hand():
    features = {"a": torch.tensor([[3.0, 4.0]]), "v": torch.tensor([[1.0, 1.0]])}
    weights = {
        "a": torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
        "v": torch.tensor([[5.0, 5.0], [-1.0, 1.0]]),
    }
    parts = cosine_logits(features, weights, 10)
    torch.testing.assert_close(parts["a"], torch.tensor([[6.0, 8.0]]))
    torch.testing.assert_close(parts["v"], torch.tensor([[10.0, 0.0]]))


@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_the_slow_twin_gives_the_same_logits(seed, scale):
    features, weights = parts_of(seed)
    total = sum(cosine_logits(features, weights, scale).values())
    torch.testing.assert_close(total, slow_logits(features, weights, scale), rtol=1e-4, atol=1e-4)


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_lengths_of_features_and_weights_do_not_count(seed, longer, heavier):
    features, weights = parts_of(seed)
    plain = cosine_logits(features, weights, 10)
    other = cosine_logits(
        {name: longer * f for name, f in features.items()},
        {name: heavier * w for name, w in weights.items()},
        10,
    )
    for name, logits in plain.items():
        torch.testing.assert_close(other[name], logits, rtol=1e-4, atol=1e-4)
        assert (logits.abs() <= 10 * (1 + 1e-5)).all()


def test_features_of_length_0_say_nothing():
    features, weights = parts_of(0)
    features["a"] = torch.zeros_like(features["a"]).requires_grad_()
    logits = cosine_logits(features, weights, 10)["a"]
    assert (logits == 0).all()
    logits.sum().backward()
    assert features["a"].grad is not None
    assert features["a"].grad.isfinite().all()


@pytest.mark.parametrize("kind", [AudioVisual, Swapped])
def test_whose_columns_are_whose_is_found_by_their_values(kind):
    model: Any = model_of(kind)
    fit = recipes.apply("mmcosine", model, loader_of(), **GIVEN)
    audio, visual, _ = data_of()[:]
    features = {"audio": model.audio(audio), "visual": model.visual(visual)}
    columns = {"audio": slice(0, 8), "visual": slice(8, 16)}
    if kind is Swapped:
        columns = {"visual": slice(0, 6), "audio": slice(6, 8)}
    assert model.head.columns == columns
    weights = {name: model.head.weight[:, own] for name, own in columns.items()}
    features = {name: features[name].clamp_min(0) + 1e-3 for name in features}  # no zero lengths
    expected = slow_logits(features, weights, 10)
    given = torch.cat([features[name] for name in columns], dim=1)
    torch.testing.assert_close(model.head(given), expected, rtol=1e-3, atol=1e-3)
    assert fit.model is model


def test_it_is_the_training_of_the_authors_with_the_logits_beside_the_model():
    model: Any = model_of()
    twin: Any = model_of()
    recipes.apply("mmcosine", model, loader_of(), **{**GIVEN, "optimizer": lambda p: sgd(p)})
    optimizer = sgd([p for name, p in twin.named_parameters() if name != "head.bias"])
    for _ in range(2):
        for audio, visual, labels in loader_of():
            one, other = twin.audio(audio), twin.visual(visual)
            weight = twin.head.weight
            logits = 10 * nn.functional.normalize(one) @ nn.functional.normalize(weight[:, :8]).T
            logits = logits + 10 * (
                nn.functional.normalize(other) @ nn.functional.normalize(weight[:, 8:]).T
            )
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
    own = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, own[name], rtol=1e-4, atol=1e-5)


def test_three_modalities_are_told_apart():
    names = ("audio", "visual", "text")
    model: Any = model_of(Fused, names=names)
    loader = torch.utils.data.DataLoader(data_of(names=names), 8)
    recipes.apply("mmcosine", model, loader, anatomy={name: name for name in names}, **GIVEN)
    assert list(model.head.columns) == list(names)


def test_a_training_goes_on_with_the_head_as_it_is():
    model: Any = model_of()
    recipes.apply("mmcosine", model, loader_of(), **GIVEN)
    head = model.head
    recipes.apply("mmcosine", model, loader_of(), **GIVEN)
    assert model.head is head


def test_modalities_are_scored_by_their_own_cosines_when_others_watch():
    fit = recipes.apply(["mmcosine", "ogm_ge"], model_of(), loader_of(), **GIVEN, noise=False)
    assert fit.history["step_score"].notnull().all()
    assert fit.history.attrs.get("readout", "linear_split") == "linear_split"


def test_evaluation_and_copies_see_the_same_logits():
    model: Any = model_of()
    recipes.apply("mmcosine", model, loader_of(), **GIVEN)
    audio, visual, _ = data_of()[:]
    model.eval()
    assert (model(audio, visual).abs() <= 20 * (1 + 1e-5)).all()
    assert torch.equal(copy.deepcopy(model)(audio, visual), model(audio, visual))
    fresh: Any = model_of(seed=1).eval()
    fresh.head = CosineHead(fresh.head, model.head.columns, scale=10)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(audio, visual), model(audio, visual))


@pytest.mark.parametrize("kind", [Summed, Gated])
def test_a_head_over_other_than_all_features_is_refused_and_given_back(kind):
    model: Any = model_of(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    anatomy = Anatomy(encoders=NAMED, head="head")
    with pytest.raises((NotApplicableError, AnatomyError), match="all features side by side"):
        recipes.apply("mmcosine", model, loader_of(), anatomy=anatomy, **GIVEN)
    assert type(model.head) is nn.Linear
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not model.audio._forward_hooks


@pytest.mark.parametrize("named", [False, True])
def test_a_model_without_a_linear_head_is_refused(named):
    model: Any = model_of(head=nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3)))
    anatomy = Anatomy(encoders=NAMED, head="head" if named else None)
    with pytest.raises(NotApplicableError, match="all features side by side"):
        recipes.apply("mmcosine", model, loader_of(), anatomy=anatomy, **GIVEN)


def test_no_hook_is_left():
    model: Any = model_of()
    recipes.apply("mmcosine", model, loader_of(), **GIVEN)
    assert not any(module._forward_hooks for module in model.modules())


def test_the_scale_is_that_of_the_logits():
    assert not torch.equal(
        trained("mmcosine", scale=1.0)["head.weight"], trained("mmcosine")["head.weight"]
    )


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"scale": 0}, "scale must be above 0; got 0"),
        ({"start_epoch": 1}, r"'mmcosine' changes the head before the first step.*Leave both out"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        MMCosine(**settings)
