"""Models, batches and labels of every kind in the bundled loop."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

import recipes
from imbalance_lens import Anatomy
from imbalance_lens.errors import (
    AnatomyError,
    BatchError,
    ClashWarning,
    NoEffectWarning,
    NotAttachedError,
    NotIntendedUseWarning,
    SettingError,
    TrainingError,
)

from .trainings import (
    CLASSES,
    AudioVisual,
    Fused,
    Gated,
    data_of,
    loader_of,
    model_of,
    same,
    sgd,
    trained,
    weights_of,
)

# torch.compile imports what PyTorch itself deprecates.
quietly = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ALL = ["none", "unimodal", "multi_loss", "ogm_ge", "opm", "mlb", ["opm", "ogm_ge"]]


def fitted(recipe: Any, model: nn.Module, loader: Any = None, **settings: Any) -> recipes.Fit:
    given: dict[str, Any] = {"epochs": 1, "optimizer": sgd, "seed": 3, "device": "cpu", **settings}
    return recipes.apply(recipe, model, loader_of() if loader is None else loader, **given)


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


@pytest.mark.parametrize("recipe", ["none", "ogm_ge"])
def test_labels_that_do_not_fit_are_refused_in_words(recipe: str) -> None:
    whole = list(loader_of())
    with pytest.raises(BatchError, match="no labels in batch"):
        fitted(recipe, model_of(), [{"audio": a, "visual": v} for a, v, _ in whole])
    with pytest.raises(BatchError, match="Label 7 is out of range"):
        fitted(recipe, model_of(), [(a, v, torch.where(y == 2, 7, y)) for a, v, y in whole])
    with pytest.raises(BatchError, match="Label -1 is out of range"):
        fitted(recipe, model_of(), [(a, v, y - 1) for a, v, y in whole])
    with pytest.raises((BatchError, SettingError), match=r"float32|numbers to predict"):
        fitted(recipe, model_of(), [(a, v, y.float()) for a, v, y in whole])
    with pytest.raises(BatchError, match=r"got \(8, 3\) and \(7,\)"):
        fitted(recipe, model_of(), [(a, v, y[:-1]) for a, v, y in whole])
    with pytest.raises(BatchError, match="no batch"):
        fitted(recipe, model_of(), [])
    with pytest.raises(BatchError, match="lose the batch"):
        fitted(recipe, model_of(), iter(whole))


def targets(kind: str) -> list[tuple]:
    draw = torch.Generator().manual_seed(0)
    if kind == "several":
        return [(a, v, nn.functional.one_hot(y, CLASSES).float()) for a, v, y in loader_of()]
    return [(a, v, torch.randn(len(y), CLASSES, generator=draw)) for a, v, y in loader_of()]


@pytest.mark.parametrize("recipe", ["none", "unimodal", "multi_loss", "mlb"])
def test_numbers_can_be_predicted(recipe: str) -> None:
    fit = fitted(
        recipe, model_of(), targets("numbers"), val_loader=targets("numbers"),
        loss=nn.functional.mse_loss, epochs=2,
    )  # fmt: skip
    assert fit.history["val_loss"].notnull().all()
    assert "val_accuracy" not in fit.history
    assert "step_accuracy" not in fit.history
    assert ("step_error" in fit.history) == (recipe == "mlb")
    assert fit.best_epoch == int(fit.history["val_loss"].values.argmin())


@pytest.mark.parametrize("recipe", ["none", "unimodal", "multi_loss"])
def test_several_labels_per_example_train(recipe: str) -> None:
    loss = nn.functional.binary_cross_entropy_with_logits
    data = targets("several")
    fit = fitted(recipe, model_of(), data, val_loader=data, loss=loss)
    assert fit.history["step_loss"].notnull().all()


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [("ogm_ge", "numbers"), ("opm", "numbers"), ("ogm_ge", "several"), ("mlb", "several")],
)
def test_labels_that_a_paper_has_no_form_for_are_refused(recipe: str, kind: str) -> None:
    with pytest.raises(SettingError, match="Its paper has no form for that"):
        fitted(recipe, model_of(), targets(kind), loss=nn.functional.mse_loss)
    with pytest.raises(BatchError, match="pass loss="):
        fitted("none", model_of(), targets(kind))


def test_one_number_per_example_can_be_predicted() -> None:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.mse_loss(logits.squeeze(1), labels)

    data = [(a, v, y.float()) for a, v, y in loader_of()]
    for recipe in ("none", "multi_loss", "mlb"):
        fit = fitted(recipe, model_of(head=nn.Linear(16, 1)), data, val_loader=data, loss=loss)
        assert fit.history["val_loss"].notnull().all()


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_good_checkpoint(
    tmp_path,
) -> None:
    good = list(loader_of())
    bad = [*good, (good[0][0] * torch.nan, *good[0][1:])]
    model = model_of()
    with pytest.raises(TrainingError, match="step 3 of this run"):
        fitted("ogm_ge", model, bad, checkpoint=tmp_path / "run", checkpoint_every=1)
    again = model_of()
    with pytest.raises(TrainingError, match="step 0 of this run"):
        fitted("ogm_ge", again, bad, checkpoint=tmp_path / "run", checkpoint_every=1)
    for path in (tmp_path / "run").glob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())
    fit = fitted("ogm_ge", model_of(), [*good, *good], checkpoint=tmp_path / "run", epochs=2)
    assert fit.history.sizes["step"] == 12


def test_weights_that_are_no_numbers_are_never_kept(tmp_path) -> None:
    """The loss of the step that breaks them is still a number."""

    def breaking(logits: Tensor, labels: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(logits, labels)
        steps.append(1)
        return loss + (loss - loss.detach()).abs().sqrt() if len(steps) == 3 else loss

    steps: list[int] = []
    with pytest.raises(TrainingError, match="After 3 steps, weights are NaN"):
        fitted(
            "none", model_of(), loss=breaking, epochs=2, checkpoint=tmp_path / "run",
            checkpoint_every=1,
        )  # fmt: skip
    kept = sorted((tmp_path / "run").glob("0*.safetensors"))
    assert kept
    for path in kept:
        assert all(tensor.isfinite().all() for tensor in load_file(path).values()), path.name


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
    with pytest.warns(NotIntendedUseWarning, match="trunk is used by several modalities"):
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


@quietly
def test_a_compiled_model_is_refused_and_compile_does_it() -> None:
    with pytest.raises(NotAttachedError, match="compile=True"):
        fitted("ogm_ge", torch.compile(model_of()))  # pyright: ignore[reportArgumentType]


@quietly
@pytest.mark.parametrize("recipe", ["none", ["opm", "ogm_ge"]])
def test_encoders_can_be_compiled(recipe: Any, monkeypatch) -> None:
    compiled = []
    real = torch.compile

    def eager(function: Any) -> Any:
        compiled.append(function)
        return real(function, backend="eager")

    monkeypatch.setattr(torch, "compile", eager)
    model = model_of()
    fit = fitted(recipe, model, compile=True)
    assert len(compiled) == 2
    plain = weights_of(fitted(recipe, model_of()).model)
    for name, tensor in weights_of(fit.model).items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-4, atol=1e-5)
    assert "forward" not in vars(model.audio)


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(True), nn.AdaptiveAvgPool2d(1))
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1).flatten(1))


@pytest.mark.parametrize("recipe", ["none", ["opm", "mlb"]])
def test_images_can_have_their_channels_last(recipe: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    data = [
        (torch.randn(6, 1, 8, 8, generator=draw), torch.randn(6, 3, 9, 9, generator=draw), y)
        for y in torch.arange(12).reshape(2, 6) % CLASSES
    ]
    layouts: list[bool] = []
    model = model_of(Images)
    model.get_submodule("visual.0").register_forward_pre_hook(
        lambda _, args: layouts.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    last = weights_of(fitted(recipe, model, data, channels_last=True).model)
    assert layouts[-1]
    first = weights_of(fitted(recipe, model_of(Images), data).model)
    for name, tensor in first.items():
        torch.testing.assert_close(last[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("recipe", ALL)
def test_bf16_trains_with_float32_weights(recipe: Any) -> None:
    fit = fitted(recipe, model_of(), precision="bf16", val_loader=loader_of())
    assert fit.history["step_loss"].notnull().all()
    assert {tensor.dtype for tensor in weights_of(fit.model).values()} == {torch.float32}
    assert not same(weights_of(fit.model), weights_of(fitted(recipe, model_of()).model))
    assert '"bfloat16"' in fit.history.attrs["settings"]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_optimizers_that_cancel_a_scale_are_told_of(optimizer: Any) -> None:
    with pytest.warns(NoEffectWarning, match="apply_to='update'"):
        fitted("ogm_ge", model_of(), optimizer=optimizer, noise=False)
    with pytest.warns(NotIntendedUseWarning, match="only the noise is left"):
        fitted("ogm_ge", model_of(), optimizer=optimizer)
    fitted("ogm_ge", model_of(), optimizer=optimizer, noise=False, apply_to="update")


def test_recipes_that_change_the_same_thing_clash() -> None:
    with pytest.warns(ClashWarning, match="both change the encoder gradients") as told:
        fitted(["ogm_ge", "mlb"], model_of())
    assert told[0].filename == __file__


def test_an_optimizer_or_a_scheduler_of_something_else_is_refused() -> None:
    with pytest.raises(SettingError, match="no trainable parameter of this model"):
        fitted("none", model_of(), optimizer=sgd(model_of().parameters()))
    other = torch.optim.lr_scheduler.StepLR(sgd(model_of().parameters()), 1)
    with pytest.raises(SettingError, match="of another optimizer"):
        fitted("none", model_of(), scheduler=other)
    with pytest.raises(SettingError, match="gave a list"):
        fitted("none", model_of(), optimizer=list)
    frozen = model_of().requires_grad_(False)
    with pytest.raises(SettingError, match="No parameter of the model is trainable"):
        fitted("none", frozen)


def test_an_optimizer_of_ones_own_gets_the_heads() -> None:
    model = model_of()
    optimizer = sgd(model.parameters())
    fit = fitted("multi_loss", model, optimizer=optimizer)
    assert len(optimizer.param_groups) == 2
    assert same(weights_of(model), trained("multi_loss"))
    assert fit.heads
