"""ABRi: encoders chosen by name or by a report, alpha without decay, trainings that go on."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import recipes
from imbalance_lens import Anatomy, Report, diagnose
from imbalance_lens.errors import (
    NoEffectWarning,
    NotApplicableError,
    NotAttachedError,
    SettingError,
    UnknownNameError,
)
from imbalance_lens.observer import batchnorms_of
from recipes.abri import Abri, AdaptiveBatchNorm, convert

from .mid_life import MidLife, normed
from .trainings import loader_of, model_of, same, sgd, trained, weights_of


def test_only_the_named_encoders_are_converted() -> None:
    paths = {"audio": "audio", "visual": "visual"}
    model = convert(normed(), modalities=["visual"], anatomy=paths)
    assert isinstance(model.visual[1], AdaptiveBatchNorm)
    assert type(model.audio[1]) is nn.BatchNorm1d
    with pytest.raises(SettingError, match=r"nobody has said which these are\. Pass anatomy="):
        convert(normed(), modalities=["visual"])
    with pytest.raises(UnknownNameError, match="'visuel'"):
        convert(normed(), modalities=["visuel"], anatomy=paths)
    half = normed()
    half.visual[1] = nn.Identity()
    with pytest.raises(NotApplicableError, match="The encoder of 'visual' has no BatchNorm"):
        convert(half, modalities=["visual"], anatomy=paths)


def test_a_layer_of_several_modalities_is_converted_with_all_of_them_only() -> None:
    tied, trunk = normed(), normed()
    tied.visual[1] = tied.audio[1]
    for model, anatomy in (
        (tied, Anatomy(encoders={"audio": "audio", "visual": "visual"})),
        (trunk, Anatomy({"audio": "audio#0", "visual": "audio#1"}, shared=("audio",))),
    ):
        with pytest.raises(NotApplicableError, match="are used outside of these encoders, too"):
            convert(model, modalities=["audio"], anatomy=anatomy)
        convert(model, modalities=["visual", "audio"], anatomy=anatomy)
        assert isinstance(model.audio[1], AdaptiveBatchNorm)
    assert tied.audio[1] is tied.visual[1]
    assert type(trunk.visual[1]) is nn.BatchNorm1d


def test_probes_see_the_mixed_scale() -> None:
    model = normed()
    nn.init.zeros_(model.audio[1].weight)
    nn.init.zeros_(model.audio[1].bias)
    anatomy = Anatomy(encoders={"audio": "audio", "visual": "visual"})
    assert not batchnorms_of(model, anatomy)["audio.1"].weight.any()
    assert batchnorms_of(convert(model), anatomy)["audio.1"].weight.tolist() == [0.5] * 8
    report = diagnose(model, loader_of(), probes=["abnormal_batchnorm", "dead_features"])
    assert report.tree["abnormal_batchnorm"]["abnormal_count"].values.sum() == 0
    assert not report.skipped


def optimized(wanted: Any, recipe: Any = None, **settings: Any) -> torch.optim.Optimizer:
    """The optimizer that a training ended with."""
    model, made = normed(), []
    if wanted == "ready":
        made.append(sgd(model.parameters(), weight_decay=0.1))
    recipe = recipe or Abri(**settings)
    given = made[0] if made else (wanted and (lambda p: made.append(wanted(p)) or made[0]))

    class Spy(recipes.Recipe):
        card = Abri.card

        def on_step_end(self, run: recipes.Run) -> None:
            made.append(run.optimizer)

    recipes.apply([recipe, Spy()], model, loader_of(), epochs=1, optimizer=given, device="cpu")
    optimizer = made[-1]
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(list(model.parameters()))
    alphas = {m.alpha for m in model.modules() if isinstance(m, AdaptiveBatchNorm)}
    assert len(alphas) == 2
    for group in optimizer.param_groups:
        if group["weight_decay"] == 0:
            assert set(group["params"]) == alphas
        else:
            assert not alphas & set(group["params"])
    return optimizer


@pytest.mark.filterwarnings("ignore:'abri' and")
@pytest.mark.parametrize(
    "wanted",
    [None, partial(sgd, weight_decay=0.1), partial(torch.optim.AdamW, lr=0.01), "ready"],
)
def test_alpha_is_trained_without_weight_decay(wanted) -> None:
    optimizer = optimized(wanted)
    assert [len(group["params"]) for group in optimizer.param_groups] == [10, 4, 2]


def test_a_training_of_layers_mixed_by_1_with_alpha_held_is_bitwise_that_without() -> None:
    class Held(Abri):
        name = "abri"

        def parameter_groups(self, run: recipes.Run) -> list[dict[str, Any]]:
            return [{**group, "lr": 0.0} for group in super().parameter_groups(run)]

    plain = trained("none", MidLife)
    mixed = trained(Held(initial_alpha=1.0), MidLife)
    assert same(plain, {name: mixed[name] for name in plain})
    assert len(mixed) == len(plain) + 6


def test_the_model_keeps_its_layers_and_history_tells_of_alpha() -> None:
    model = normed()
    fit = recipes.apply("abri", model, loader_of(), epochs=2, modalities=["visual"], device="cpu")
    assert fit.model is model
    assert isinstance(model.visual[1], AdaptiveBatchNorm)
    history = fit.history
    assert history["step_alpha"].sel(modality="audio").isnull().all()
    last = model.visual[1].alpha.detach()
    for name, number in (("", last.mean()), ("_min", last.min()), ("_max", last.max())):
        found = float(history[f"step_alpha{name}"].sel(modality="visual")[-1])
        assert found == pytest.approx(number.item())
    again = recipes.apply("abri", model, loader_of(), epochs=1, modalities=["visual"])
    assert len([m for m in model.modules() if isinstance(m, AdaptiveBatchNorm)]) == 1
    assert again.history["step_alpha"].sel(modality="visual").notnull().all()


@pytest.mark.parametrize("converted", [False, True])
def test_an_interrupted_training_goes_on_bit_by_bit(tmp_path, converted) -> None:
    kind = MidLife
    whole = trained("abri", kind, epochs=4)
    trained("abri", kind, epochs=2, checkpoint=tmp_path / "run")
    model = convert(normed()) if converted else normed(seed=5)
    given: dict[str, Any] = {"epochs": 4, "optimizer": sgd, "seed": 3, "device": "cpu"}
    recipes.apply("abri", model, loader_of(), checkpoint=tmp_path / "run", **given)
    assert same(weights_of(model), whole)


@pytest.mark.parametrize(("reinitialize", "scales"), [("naive", [1, 0.5]), ("full", [1, 1])])
def test_the_baselines_change_layers_and_leave_their_kind(reinitialize, scales) -> None:
    model = normed()
    with torch.no_grad():
        model.visual[1].weight.copy_(torch.tensor([1e-9, 0.5] * 4))
    recipe = Abri(reinitialize=reinitialize, modalities=["visual"])
    with recipes.attach(recipe, model, loader_of().dataset.tensors[:2]) as remedy:
        assert model.visual[1].weight.tolist() == scales * 4
        assert remedy.parameter_groups == []
    assert type(model.visual[1]) is nn.BatchNorm1d


def test_auto_takes_all_encoders_that_have_layers() -> None:
    model = normed()
    model.audio[1] = nn.Identity()
    recipes.apply("abri", model, loader_of(), epochs=1)
    assert isinstance(model.visual[1], AdaptiveBatchNorm)
    with pytest.raises(NotApplicableError, match="The encoder of 'audio' has no BatchNorm layer"):
        recipes.apply("abri", model_of(), loader_of(), epochs=1)
    with pytest.raises(NotApplicableError, match="The encoder of 'audio' has no BatchNorm layer"):
        recipes.apply("abri", model, loader_of(), epochs=1, modalities=["audio", "visual"])


def half_dead(*names: str) -> nn.Module:
    model = normed()
    for name in names:
        with torch.no_grad():
            model.get_submodule(name)[1].weight[:6] = 0
            model.get_submodule(name)[1].bias[:6] = 0
    return model


def report_of(model: nn.Module, *probes: str) -> Report:
    return diagnose(model, loader_of(examples=240), probes=probes or ["abnormal_batchnorm"])


def test_auto_takes_the_encoders_that_the_report_recommends() -> None:
    model = half_dead("visual")
    fit = recipes.apply("abri", model, loader_of(), epochs=1, report=report_of(model))
    assert isinstance(model.visual[1], AdaptiveBatchNorm)
    assert type(model.audio[1]) is nn.BatchNorm1d
    assert '"report": ["visual"]' in fit.history.attrs["settings"]


def test_auto_spares_the_modality_that_dominates() -> None:
    model = half_dead("audio", "visual")
    optimizer = torch.optim.Adam(model.audio.parameters(), lr=0.05)
    optimizer.add_param_group({"params": model.head.parameters()})
    recipes.apply("none", model, loader_of(examples=240), epochs=12, optimizer=optimizer)
    report = report_of(model, "abnormal_batchnorm", "zero_out", "shapley", "permutation")
    assert report.findings[0].modality == "audio"
    recipe = Abri(report=report)
    with recipes.attach(recipe, model, loader_of().dataset.tensors[:2]):
        assert isinstance(model.visual[1], AdaptiveBatchNorm)
        assert type(model.audio[1]) is nn.BatchNorm1d


def test_a_report_without_dead_encoders_changes_none() -> None:
    model = normed()
    with pytest.warns(NoEffectWarning, match="The report recommends 'abri' for no encoder"):
        recipes.apply("abri", model, loader_of(), epochs=1, report=report_of(model))
    assert type(model.audio[1]) is nn.BatchNorm1d


def test_a_loop_of_ones_own_is_told_of_parameters_that_its_optimizer_lacks() -> None:
    model = normed()
    optimizer = sgd(model.parameters(), weight_decay=0.1)
    inputs, labels = loader_of().dataset.tensors[:2], loader_of().dataset.tensors[2]
    with recipes.attach("abri", model, inputs) as remedy:
        nn.functional.cross_entropy(model(*inputs), labels).backward()
        with pytest.raises(SettingError, match=r"for every group in remedy.parameter_groups"):
            remedy.gradients(optimizer)
        for group in remedy.parameter_groups:
            optimizer.add_param_group(group)
        remedy.gradients(optimizer)
        optimizer.step()
    assert not model.audio[1].alpha.eq(0.5).all()


def test_a_model_that_is_wrapped_already_is_refused(tmp_path) -> None:
    distributed = torch.distributed
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        inputs = loader_of().dataset.tensors[:2]
        wrapped = nn.parallel.DistributedDataParallel(normed())
        with pytest.raises(NotAttachedError, match="and wrap it afterwards"):
            recipes.attach("abri", wrapped, inputs)
        wrapped = nn.parallel.DistributedDataParallel(convert(normed()))
        with recipes.attach("abri", wrapped, inputs) as remedy:
            assert len(remedy.parameter_groups) == 2
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"alpha": "layer"}, "alpha='layer' is not known. Choose one of: 'channel', 'scalar'"),
        ({"reinitialize": "random"}, "reinitialize='random' is not known"),
        ({"threshold": 0}, "threshold must be above 0"),
        ({"modalities": "audio"}, "modalities='audio' is not known. Choose one of: 'auto'"),
        ({"start_epoch": 1}, "changes layers before the first step"),
        ({"end_epoch": 1}, "changes layers before the first step"),
        ({"report": "report.nc"}, "report is a str. Give what imbalance_lens.diagnose"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings, complaint) -> None:
    with pytest.raises(SettingError, match=complaint):
        Abri(**settings)


def test_reports_that_cannot_choose_are_refused() -> None:
    report = report_of(half_dead("visual"))
    with pytest.raises(SettingError, match="report= chooses the encoders, and modalities= names"):
        Abri(report=report, modalities=["audio"])
    with pytest.raises(SettingError, match="no answer of abnormal_batchnorm or dead_features"):
        Abri(report=report_of(normed(), "zero_out"))
