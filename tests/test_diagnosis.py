"""From a model and a loader to a report: nothing changes, nothing is hidden."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import imbalance_lens as lens
from imbalance_lens.errors import (
    AnatomyError,
    BatchError,
    SettingError,
    SignalBypassWarning,
    UnknownNameError,
)
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.observation import Observation
from imbalance_lens.probes._base import Probe
from imbalance_lens.probes.zero_out import ZeroOut
from imbalance_lens.testing import assert_passive, planted
from tests.anatomy.zoo import FOUND, Specimen

PROBES = ("abnormal_batchnorm", "logit_norm", "zero_out")


class Net(nn.Module):
    """Everything that a diagnosis could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True))
        self.visual = nn.Sequential(nn.Linear(5, 6), nn.Dropout())
        self.head = nn.Linear(12, 3)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1))


def examples(count: int = 20, classes: int = 3) -> TensorDataset:
    draw = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(count, 4, generator=draw),
        torch.randn(count, 5, generator=draw),
        torch.arange(count) % classes,
    )


def loader(count: int = 20, batch_size: int = 8, **options: Any) -> DataLoader:
    return DataLoader(examples(count), batch_size, **options)


@pytest.mark.parametrize("modalities", [("a", "v"), ("a", "v", "t"), tuple("abcdef")])
def test_the_planted_modality_is_named(modalities: tuple[str, ...]) -> None:
    for dominant in modalities[:2]:
        model, data = planted(dominant, modalities)
        (first, *_) = lens.diagnose(model, data, probes=PROBES).findings
        assert (first.rule, first.modality) == ("dominance", dominant)


def test_equal_modalities_dominate_not() -> None:
    model, data = planted(None, ("a", "v", "t"))
    (first, *_) = lens.diagnose(model, data, probes=PROBES).findings
    assert (first.rule, first.modality) == ("dominance", "")


def test_nothing_changes_whatever_the_loader_draws() -> None:
    model = Net()
    generator = torch.Generator().manual_seed(4)
    data = loader(shuffle=True, generator=generator)
    before = generator.get_state()
    with assert_passive(model):
        lens.diagnose(model, data)
    assert torch.equal(generator.get_state(), before)
    with assert_passive(model):
        lens.diagnose(model, loader(shuffle=True))


class Failing:
    """Gives two batches and raises."""

    def __iter__(self) -> Iterator[Any]:
        yield from list(loader())[:2]
        raise OSError("the disk went away")


def test_nothing_changes_when_the_loader_or_a_hook_raises_half_way() -> None:
    model, calls = Net(), []
    model.head.register_forward_hook(lambda *_: calls.append(1))
    with assert_passive(model), pytest.raises(OSError, match="the disk went away"):
        lens.diagnose(model, Failing())

    def hook(*_: Any) -> None:
        if len(calls) > 12:
            raise RuntimeError("a hook of the user")

    model.visual.register_forward_hook(hook)
    with assert_passive(model), pytest.raises(RuntimeError, match="a hook of the user"):
        lens.diagnose(model, loader(60))


def test_foreign_hooks_survive_and_fire() -> None:
    model, heard = Net(), []
    handle = model.audio.register_forward_hook(lambda *_: heard.append("audio"))
    lens.diagnose(model, loader(), probes=["zero_out"])
    assert handle.id in model.audio._forward_hooks
    assert heard


@pytest.mark.parametrize("specimen", FOUND, ids=lambda specimen: specimen.name)
def test_the_whole_zoo_is_diagnosed_without_a_hint(specimen: Specimen) -> None:
    model = specimen.build()
    inputs = specimen.inputs(6)
    data = [(inputs, torch.arange(6) % 2)] * 2
    with assert_passive(unwrap(model)), warnings.catch_warnings():
        # a mask or the lengths belong to no modality, and are said to pass by
        warnings.filterwarnings("ignore", "The input '(attention_mask|lengths)'")
        report = lens.diagnose(model, data, probes=PROBES)
    assert set(report.modalities) == set(specimen.modalities)
    assert report.tree["zero_out"].attrs["examples"] == 12


def test_the_loader_is_read_once() -> None:
    served = []

    def batches() -> Iterator[Any]:
        for batch in loader():
            served.append(1)
            yield batch

    report = lens.diagnose(Net(), batches(), probes=["zero_out"])
    assert (len(served), report.tree.attrs["examples"]) == (3, 20)
    report = lens.diagnose(Net(), loader(), probes=["zero_out"], max_batches=2)
    assert report.tree.attrs["examples"] == 16


def test_batch_size_and_order_change_nothing() -> None:
    model = Net()
    whole = lens.diagnose(model, loader(batch_size=20), probes=["zero_out", "logit_norm"])
    order = torch.randperm(20)
    shuffled = [tuple(x[order[i : i + 3]] for x in examples().tensors) for i in range(0, 20, 3)]
    parts = lens.diagnose(model, shuffled, probes=["zero_out", "logit_norm"])
    for name in ("accuracy", "confidence", "average_precision", "spread"):
        xr.testing.assert_allclose(whole.tree["zero_out"][name], parts.tree["zero_out"][name])
    xr.testing.assert_allclose(
        whole.tree["logit_norm"].to_dataset(), parts.tree["logit_norm"].to_dataset(), rtol=1e-5
    )


def test_a_wrapped_model_gives_the_same_report() -> None:
    model = Net()
    plain = lens.diagnose(model, loader(), probes=PROBES)
    compiled = torch.compile(model, backend="eager")
    for wrapped in (nn.DataParallel(model), compiled):
        again = lens.diagnose(wrapped, loader(), probes=PROBES)  # pyright: ignore[reportArgumentType]
        for name in PROBES:
            xr.testing.assert_identical(
                plain.tree[name].to_dataset(), again.tree[name].to_dataset()
            )


def test_probes_that_cannot_run_are_listed_with_the_reason() -> None:
    model, data = planted("audio")
    unlabeled = [inputs for inputs, _ in data]
    report = lens.diagnose(model, unlabeled, probes=PROBES)
    assert report.skipped == {
        "abnormal_batchnorm": "the model has no BatchNorm layer with weight and bias",
        "logit_norm": "the loader gives no labels",
        "zero_out": "the loader gives no labels",
    }


def test_an_error_inside_a_probe_is_not_swallowed() -> None:
    class Broken(Probe):
        def observe(self, seen: Observation) -> None:
            raise ZeroDivisionError("a bug")

        def result(self) -> Any:
            return None

        def merge(self, other: Any) -> None:
            return None

    with pytest.raises(ZeroDivisionError, match="a bug"):
        lens.diagnose(Net(), loader(), probes=[Broken()])


def test_probes_are_chosen_by_name_or_made() -> None:
    report = lens.diagnose(Net(), loader(), probes=[ZeroOut(fill="mean", resamples=50)])
    assert list(report.tree.children) == ["zero_out"]
    assert '"fill": "mean"' in report.tree["zero_out"].attrs["settings"]
    with pytest.raises(UnknownNameError, match="Did you mean 'zero_out'"):
        lens.diagnose(Net(), loader(), probes=["zero_outs"])
    with pytest.raises(SettingError, match="'zero_out' twice"):
        lens.diagnose(Net(), loader(), probes=["zero_out", ZeroOut()])
    with pytest.raises(SettingError, match="got int"):
        lens.diagnose(Net(), loader(), probes=[3])  # pyright: ignore[reportArgumentType]


def test_nan_logits_are_reported_and_not_hidden() -> None:
    class Half(Net):
        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return super().forward(torch.where(audio[:, :1] > 1, torch.nan, audio), visual)

    report = lens.diagnose(Half(), loader(), {"audio": "audio", "visual": "visual"}, PROBES)
    count = int((examples().tensors[0][:, 0] > 1).sum())
    assert int(report.tree["zero_out"].nonfinite.max()) == count > 0
    assert any(finding.rule.startswith("nonfinite") for finding in report.findings)


def test_a_modality_that_is_never_used_is_named() -> None:
    model = Net()
    model.head.weight.data[:, :6] = 0
    report = lens.diagnose(model, loader(200), {"audio": "audio", "visual": "visual"}, PROBES)
    unused = [f for f in report.findings if f.rule == "unused_modality" and f.verdict == "yes"]
    assert [finding.modality for finding in unused] == ["audio"]


def test_a_signal_that_passes_by_the_named_encoders_is_said() -> None:
    class Leaky(Net):
        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return super().forward(audio, visual) + visual[:, :3]

    who = {"audio": "audio", "visual": "visual"}
    with pytest.warns(SignalBypassWarning, match="input 'visual' reaches the logits past"):
        report = lens.diagnose(Leaky(), loader(), who, probes=["zero_out"])
    assert len(report.notes) == 1


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], BatchError, "The loader gave no batch"),
        ([(*examples(4)[:4][:2], torch.tensor([0, 1, 7, 0]))], BatchError, "Label 7 is out of"),
        ([(*examples(4)[:4][:2], torch.tensor([0, 1]))], BatchError, "4 examples and 2 labels"),
        ([*loader(), [inputs[:4] for inputs in examples().tensors[:2]]], BatchError, "Labels must"),
        (["text"], BatchError, "type str is not known"),
    ],
    ids=["empty", "label out of range", "too few labels", "a batch without labels", "no batch"],
)
def test_bad_data_is_explained(data: Any, error: type, message: str) -> None:
    model = Net()
    with assert_passive(model), pytest.raises(error, match=message):
        lens.diagnose(model, data)


def test_a_wrong_anatomy_is_explained() -> None:
    with pytest.raises(AnatomyError, match="no module or method 'sound'"):
        lens.diagnose(Net(), loader(), {"sound": "sound", "visual": "visual"})
    with pytest.raises(SettingError, match="Two or more modalities"):
        lens.diagnose(Net(), loader(), {"audio": "audio"})


def test_a_batch_of_one_is_diagnosed() -> None:
    report = lens.diagnose(Net(), loader(1), {"audio": "audio", "visual": "visual"}, PROBES)
    assert "inconclusive" in str(report.findings[0].verdict) or report.findings
    assert report.tree.attrs["examples"] == 1


def test_heads_of_the_user_are_read() -> None:
    heads = {"audio": nn.Linear(6, 3), "visual": nn.Linear(6, 3)}
    report = lens.diagnose(Net(), loader(), heads=heads, probes=["logit_norm"])
    assert '"kind": "heads"' in report.tree.attrs["readout"]


@pytest.mark.gpu
def test_a_model_on_the_gpu_is_diagnosed_and_its_random_state_kept() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = Net().cuda()
    with assert_passive(model):
        on_gpu = lens.diagnose(model, loader(), probes=PROBES)
    on_cpu = lens.diagnose(model.cpu(), loader(), probes=PROBES)
    xr.testing.assert_allclose(
        on_gpu.tree["zero_out"].accuracy, on_cpu.tree["zero_out"].accuracy, atol=1e-6
    )
