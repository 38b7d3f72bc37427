"""Models, batches and heads of every kind in the bundled loop."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from imbalance_lens import Anatomy
from imbalance_lens.errors import (
    AnatomyError,
    NoEffectWarning,
    NotIntendedUseWarning,
    SettingError,
)

from .trainings import (
    CLASSES,
    AudioVisual,
    Fused,
    Gated,
    data_of,
    fitted,
    loader_of,
    model_of,
    same,
    sgd,
    trained,
    weights_of,
)

ALL = ["none", "unimodal", "multi_loss", "ogm_ge", "opm", "mlb", ["opm", "ogm_ge"]]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, CLASSES))


def test_the_readout_is_the_first_that_is_exact() -> None:
    assert fitted("ogm_ge", model_of()).readout == "linear_split"
    assert fitted("ogm_ge", model_of(head=mlp())).readout == "zero_out"
    assert fitted(["ogm_ge", "multi_loss"], model_of(head=mlp())).readout == "heads"
    assert fitted("mlb", model_of()).readout == "heads"
    assert fitted("none", model_of()).readout == ""
    for asked in ("linear_split", "heads", "zero_out"):
        fit = fitted("ogm_ge", model_of(), readout=asked)
        assert fit.readout == asked
        assert set(fit.heads) == ({"audio", "visual"} if asked == "heads" else set())


def test_zeroed_features_of_a_linear_head_say_what_the_split_says() -> None:
    """They differ by how the bias is shared, which a model without one does not have."""
    shown = []
    for asked in ("linear_split", "zero_out"):
        model = model_of()
        model.get_submodule("head").register_parameter("bias", None)
        shown.append(fitted("ogm_ge", model, readout=asked, noise=False).history["step_ratio"])
    assert shown[0].values == pytest.approx(shown[1].values, rel=1e-5)


def test_what_a_head_cannot_tell_is_said_and_heads_help() -> None:
    with pytest.raises(SettingError, match="readout='linear_split' needs a head that adds up"):
        fitted("ogm_ge", model_of(head=mlp()), readout="linear_split")
    with pytest.raises(SettingError, match="readout='heads'"):
        fitted("ogm_ge", model_of(Gated))
    fit = fitted("ogm_ge", model_of(Gated), readout="heads")
    assert fit.readout == "heads"
    assert fit.history["step_ratio"].notnull().all()


def test_heads_that_only_look_on_teach_the_encoders_nothing() -> None:
    without = trained("ogm_ge", alpha=0.0, noise=False)
    looking_on = model_of()
    fit = fitted("ogm_ge", looking_on, readout="heads", alpha=0.0, noise=False)
    assert same(weights_of(looking_on), without)
    scores = fitted("none", model_of(), readout="heads", epochs=30, val_loader=loader_of())
    assert scores.history["val_score"].sel(modality="audio")[-1] > 0.9  # and so are taught
    assert set(fit.heads) == {"audio", "visual"}


def test_heads_of_ones_own_are_trained() -> None:
    own = {"visual": nn.Linear(8, CLASSES), "audio": mlp_of(8)}
    before = {name: weights_of(head) for name, head in own.items()}
    fit = fitted("multi_loss", model_of(), heads=own)
    for name, head in own.items():
        assert fit.heads[name] is head
        assert not same(weights_of(head), before[name])
    model, more = model_of(), {name: nn.Linear(8, CLASSES) for name in ("audio", "visual")}
    known = [*model.parameters(), *(p for head in more.values() for p in head.parameters())]
    optimizer = sgd(known)  # that has them already
    fitted("multi_loss", model, heads=more, optimizer=optimizer)
    assert len(optimizer.param_groups) == 1
    with pytest.raises(SettingError, match="as many outputs per example"):
        fitted("multi_loss", model_of(), heads={n: nn.Linear(8, 2) for n in ("audio", "visual")})
    with pytest.raises(SettingError, match="cannot be trained"):
        fitted("multi_loss", model_of(), heads={"audio": len, "visual": len})


def mlp_of(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 5), nn.ReLU(inplace=True), nn.Linear(5, CLASSES))


class Packed(nn.Module):
    """Takes one mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = model_of()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": self.inner(batch["audio"], batch["visual"])}


def as_mappings(labels: str) -> list[dict[str, Tensor]]:
    return [{"audio": a, "visual": v, labels: y} for a, v, y in loader_of()]


@pytest.mark.parametrize("recipe", ALL)
def test_batches_of_every_form_train_alike(recipe: Any) -> None:
    plain = weights_of(fitted(recipe, model_of(), list(loader_of())).model)
    forms: list[Any] = [
        as_mappings("label"),
        as_mappings("target"),
        [((a, v), y) for a, v, y in loader_of()],
        [({"audio": a, "visual": v}, y) for a, v, y in loader_of()],
        [(a, v, y.to(torch.int32)) for a, v, y in loader_of()],
        [(a, v, y.to(torch.uint8)) for a, v, y in loader_of()],
    ]
    for number, form in enumerate(forms):
        assert same(weights_of(fitted(recipe, model_of(), form).model), plain), number
    packed = [({"batch": {"audio": a, "visual": v}}, y) for a, v, y in loader_of()]
    torch.manual_seed(0)
    model = Packed()
    split = fitted(
        recipe, model, packed, anatomy={"audio": "inner.audio", "visual": "inner.visual"}
    )
    back = {f"inner.{name}": tensor for name, tensor in plain.items()}
    assert same(weights_of(split.model), back)


@pytest.mark.parametrize("recipe", ALL)
def test_three_modalities_train(recipe: Any) -> None:
    names = ("text", "audio", "visual")
    loader = DataLoader(data_of(24, names), 8)
    fit = fitted(recipe, model_of(Fused, names=names), named(loader, names), val_loader=None)
    assert fit.history["modality"].values.tolist() == list(names)
    assert fit.history["step_loss"].notnull().all()
    if "step_ratio" in fit.history:
        assert fit.history["step_ratio"].shape == (3, 3)


def named(loader: DataLoader, names: Any) -> list[Any]:
    return [(dict(zip(names, inputs, strict=True)), y) for *inputs, y in loader]


class One(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio, self.head = nn.Linear(5, 8), nn.Linear(8, CLASSES)

    def forward(self, audio: Tensor) -> Tensor:
        return self.head(self.audio(audio))


def test_one_modality_is_refused_in_words() -> None:
    single = [(a, y) for a, _, y in loader_of()]
    with pytest.raises((AnatomyError, SettingError), match=r"[Tt]wo or more|one modality"):
        fitted("ogm_ge", One(), single)
    with pytest.raises(SettingError, match="Two or more modalities"):
        fitted("ogm_ge", One(), single, anatomy={"audio": "audio"})


@pytest.mark.parametrize("recipe", ["ogm_ge", "mlb"])
def test_frozen_encoders_are_told_of(recipe: str) -> None:
    model = model_of()
    for part in (model.audio, model.visual):
        part.requires_grad_(False)
    with pytest.warns(NoEffectWarning, match="changes no encoder"):
        fitted(recipe, model)
    half = model_of()
    half.audio.requires_grad_(False)
    before = weights_of(half)
    fitted(recipe, half)
    after = weights_of(half)
    assert all(torch.equal(before[n], after[n]) == n.startswith("audio") for n in before)


class Trunk(nn.Module):
    """One trunk for both modalities."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 6), nn.Linear(4, 6)
        self.trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.head = nn.Linear(16, CLASSES)
        self.own = own

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        if self.own:
            audio, visual = self.left(audio), self.right(visual)
        else:
            audio, visual = audio[:, :4].repeat(1, 2)[:, :6], visual.repeat(1, 2)[:, :6]
        return self.head(torch.cat([self.trunk(audio), self.trunk(visual)], 1))


def test_a_shared_trunk_is_left_out_and_that_is_said() -> None:
    who = Anatomy(
        encoders={"audio": "left", "visual": "right"},
        sites={"audio": ("trunk#0",), "visual": ("trunk#1",)},
        shared=("trunk",),
        head="head",
    )
    with pytest.warns(NotIntendedUseWarning, match="shared or tied: trunk"):
        fit = fitted("ogm_ge", model_of(Trunk, own=True), anatomy=who, noise=False)
    assert fit.readout == "linear_split"
    calls = {"audio": "trunk#0", "visual": "trunk#1"}
    with pytest.raises(AnatomyError, match="'trunk#0' is no module, so the parameters of 'audio'"):
        fitted("ogm_ge", model_of(Trunk, own=False), anatomy=calls)
    nobody_s = Anatomy(encoders=calls, parts={"audio": (), "visual": ()}, shared=("trunk",))
    with pytest.warns(NoEffectWarning, match="changes no encoder"):
        fitted("ogm_ge", model_of(Trunk, own=False), anatomy=nobody_s)
    fitted("opm", model_of(Trunk, own=False), anatomy=calls)
    for recipe in ("opm", "multi_loss"):
        fit = fitted(recipe, model_of(Trunk, own=True), anatomy=who)
        assert fit.history["step_loss"].notnull().all()


class ByMethod(nn.Module):
    """Encodes in methods of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.v, self.head = nn.Linear(5, 8), nn.Linear(4, 8), nn.Linear(16, CLASSES)

    def encode_audio(self, audio: Tensor) -> Tensor:
        return self.a(audio).tanh()

    def encode_visual(self, visual: Tensor) -> Tensor:
        return self.v(visual).tanh()

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.encode_audio(audio), self.encode_visual(visual)], 1))


@pytest.mark.parametrize("recipe", ALL)
def test_encoders_that_are_methods_train(recipe: Any) -> None:
    who = Anatomy(
        encoders={"audio": "a", "visual": "v"},
        sites={"audio": ("encode_audio",), "visual": ("encode_visual",)},
    )
    for anatomy in (who, None):
        model = model_of(ByMethod)
        fit = fitted(recipe, model, anatomy=anatomy)
        assert fit.history["step_loss"].notnull().all()
        assert not {"encode_audio", "encode_visual", "forward"} & vars(model).keys()


class Careless(AudioVisual):
    """Fusion writes into the features that it got, which are views, and gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.audio.extend([nn.Linear(8, 8), nn.Unflatten(1, (2, 4))])
        self.visual.extend([nn.Linear(8, 8), nn.Unflatten(1, (2, 4))])

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        heard, seen = self.audio(audio).flatten(1), self.visual(visual).transpose(1, 2).flatten(1)
        heard.relu_()
        seen += 1
        return self.head(torch.cat([heard, seen], 1)), heard


@pytest.mark.parametrize("recipe", ALL)
def test_in_place_fusion_and_views_train(recipe: Any) -> None:
    model = model_of(Careless)
    fit = fitted(recipe, model, logits=lambda output: output[0])
    assert fit.history["step_loss"].notnull().all()
    plain = weights_of(fitted("none", model_of(Careless), logits=lambda output: output[0]).model)
    neutral = {"ogm_ge": {"alpha": 0.0, "noise": False}, "opm": {"q_base": 0.0}}
    if isinstance(recipe, str) and recipe in neutral:
        kept = fitted(
            recipe, model_of(Careless), logits=lambda output: output[0], **neutral[recipe]
        )
        assert same(weights_of(kept.model), plain)
