"""Dead channels in models of many kinds, by diagnosis and in training."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import xarray as xr
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens import schema
from imbalance_lens.probes.dead_features import DeadFeatures
from imbalance_lens.testing import assert_passive
from tests.anatomy.zoo import FOUND, Specimen

WHO = {"audio": "audio", "visual": "visual"}
BATCHES = (8, 8, 4)


class Late(nn.Module):
    """Two encoders and a linear head."""

    def __init__(self, audio: nn.Module, visual: nn.Module, width: int) -> None:
        super().__init__()
        self.audio, self.visual = audio, visual
        self.head = nn.Linear(width, 3)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1))


def small(relu: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        relu or nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def late(relu: nn.Module | None = None) -> Late:
    torch.manual_seed(2)
    return Late(small(relu), small(relu), 12).eval()


def loader(*batches: int, side: int = 9) -> list[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(3)
    count = sum(batches)
    audio, visual = (torch.randn(count, 3, side, side, generator=draw) for _ in range(2))
    labels = torch.arange(count) % 3
    return list(zip(*(x.split(batches) for x in (audio, visual, labels)), strict=True))


def dead(model: nn.Module, data: Any = None, *, who: Any = WHO, **settings: Any) -> xr.Dataset:
    probe = DeadFeatures(**settings)
    report = lens.diagnose(model, data or loader(*BATCHES), who, [probe], progress=False)
    return report.tree["dead_features"].to_dataset()


def resnet() -> nn.Module:
    net = torchvision.models.resnet18(num_classes=4)
    net.fc = nn.Identity()
    draw = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.bias.normal_(-0.6, generator=draw)
                module.weight[:3] = 0
    return net


def test_streaming_gives_what_the_definitions_give_on_stored_activations():
    model = Late(resnet(), resnet(), 1024).eval()
    data = loader(*BATCHES, side=48)
    stored: dict[str, list[Tensor]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(
                lambda *call, path=path: stored.setdefault(path, []).append(call[2].double())
            )
    with torch.no_grad():
        for *inputs, _ in data:
            model(*inputs)
    calls = {path: len(outputs) // len(data) for path, outputs in stored.items()}
    maps = [
        torch.cat(outputs[k :: calls[path]]).flatten(2)
        for path, outputs in stored.items()
        for k in range(calls[path])
    ]
    found = dead(model, data)
    assert found.sizes["layer"] == len(maps) == 34
    for place, values in zip(found["layer"].values, maps, strict=True):
        mine = found.isel(channel=found["channel_layer"] == place)
        silent = (values == 0).all(2)
        np.testing.assert_array_equal(mine["dead_rate"], silent.double().mean(0))
        np.testing.assert_array_equal(mine["highest"], values.amax((0, 2)))
        np.testing.assert_array_equal(mine["constant"], values.amax((0, 2)) == values.amin((0, 2)))
        still = values.std((0, 2), correction=0) <= 1e-6 * values.std(correction=0)
        np.testing.assert_array_equal(mine["low_variance"], still)
        for label in range(3):
            of_class = silent[torch.arange(20) % 3 == label].double().mean(0)
            np.testing.assert_allclose(mine["class_dead_rate"].sel(label=label), of_class)
    assert 0 < found["total_share"] < 1
    assert found["modality"].values.tolist() == ["audio"] * 17 + ["visual"] * 17


@pytest.mark.parametrize("bn_stats", ["running", "batch"])
@pytest.mark.parametrize(("shift", "mark"), [(-1.0, "dead"), (1.0, "constant")])
def test_a_channel_without_scale_has_its_fate_in_its_shift(bn_stats, shift, mark):
    model = late()
    with torch.no_grad():
        model.get_parameter("audio.1.weight")[2] = 0
        model.get_parameter("audio.1.bias")[2] = shift
    found = dead(model, bn_stats=bn_stats)
    names = found["channel"].values[found[mark].values].tolist()
    assert names == ["audio.1 > relu:2"]


def test_the_split_into_batches_and_their_order_change_nothing():
    model, whole = late(), loader(20)
    wanted = dead(model, whole)
    xr.testing.assert_allclose(dead(model), wanted, rtol=1e-5)
    mixed = [tuple(each.flip(0) for each in whole[0])]
    xr.testing.assert_allclose(dead(model, mixed), wanted, rtol=1e-5)


def test_with_the_statistics_of_the_batch_the_numbers_are_those_of_train_mode():
    model, data = late(), loader(8)
    with torch.no_grad():
        model.get_buffer("audio.1.running_mean").fill_(50)
    assert dead(model, data)["dead_rate"].values[:6].all()
    with assert_passive(model):
        found = dead(model, data, bn_stats="batch")
    outputs = []
    model.audio[2].register_forward_hook(lambda *call: outputs.append(call[2]))
    model.train()(*data[0][:2])
    peaks = outputs[0].detach().double().amax((0, 2, 3))
    np.testing.assert_allclose(found["highest"].values[:6], peaks, rtol=1e-6)
    assert schema.from_json(found.attrs["settings"])["bn_stats"] == "batch"


def test_a_batch_without_statistics_is_a_reason_and_no_crash():
    def vectors() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU())

    model = Late(vectors(), vectors(), 10).eval()
    data = [
        (torch.randn(n, 4), torch.randn(n, 4), torch.zeros(n, dtype=torch.int64)) for n in (4, 1)
    ]
    probes = [DeadFeatures(bn_stats="batch"), "zero_out"]
    report = lens.diagnose(model, data, WHO, probes, progress=False)
    assert "leave out the last one" in report.skipped["dead_features"]
    assert report.tree["zero_out"].attrs["examples"] == 5


def test_replays_for_other_probes_are_not_counted():
    probes = ["dead_features", "zero_out", "abnormal_batchnorm"]
    report = lens.diagnose(late(), loader(*BATCHES), WHO, probes, progress=False)
    assert report.tree["dead_features"]["examples"].values.tolist() == [20, 20]
    alone = dead(late())
    xr.testing.assert_identical(
        report.tree["dead_features"].to_dataset().drop_attrs(), alone.drop_attrs()
    )


def test_nobody_listens_where_no_probe_asks():
    model, patched = late(), []
    model.audio[3].register_forward_hook(
        lambda module, *_: patched.append("forward" in vars(module))
    )
    lens.diagnose(model, loader(4), WHO, ["zero_out"], progress=False)
    assert patched
    assert not any(patched)
    patched.clear()
    lens.diagnose(model, loader(4), WHO, ["dead_features"], progress=False)
    assert any(patched)


def test_nothing_is_left_after_an_error_half_way_and_foreign_hooks_survive():
    model, sizes = late(), []

    def hook(*call: Any) -> None:
        sizes.append(len(call[2]))
        if sizes[-1] == BATCHES[-1] and sizes.count(BATCHES[-1]) == 1:
            raise RuntimeError("a hook of the user")

    model.visual.register_forward_hook(hook)
    with assert_passive(model), pytest.raises(RuntimeError, match="a hook of the user"):
        dead(model)
    with assert_passive(model):
        dead(model)
    assert sizes.count(BATCHES[-1]) > 1


def test_compiled_and_wrapped_models_give_the_same(tmp_path):
    model = late()
    wanted = dead(model)
    compiled = torch.compile(model, backend="eager")
    assert isinstance(compiled, nn.Module)
    compiled(*loader(8)[0][:2])
    xr.testing.assert_identical(dead(compiled), wanted)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        xr.testing.assert_identical(dead(nn.parallel.DistributedDataParallel(model)), wanted)
    finally:
        torch.distributed.destroy_process_group()


def test_frames_folded_into_the_batch_belong_to_their_example():
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).mean(1)

    model = Late(Frames(), small(), 12).eval()
    clips = torch.randn(4, 3, 5, 9, 9)
    clips[:, :, 1:] -= 40  # one frame of five is enough to live
    found = dead(model, [(clips, torch.randn(4, 3, 9, 9), torch.arange(4) % 3)])
    assert found["examples"].values.tolist() == [4, 4]
    with torch.no_grad():
        output = model.audio.get_submodule("net")[:3](clips.transpose(1, 2).flatten(0, 1))
    peaks = output.unflatten(0, (4, 5)).amax((1, 3, 4))
    np.testing.assert_array_equal(found["dead_rate"].values[:6], (peaks <= 0).double().mean(0))


@pytest.mark.parametrize("specimen", FOUND, ids=lambda specimen: specimen.name)
def test_the_whole_zoo_gets_an_answer_or_a_reason(specimen: Specimen):
    model, inputs = specimen.build(), specimen.inputs(6)
    data = [(inputs, torch.arange(6) % 2)] * 2
    who = lens.Anatomy(dict(specimen.encoders), head=specimen.head, sites=dict(specimen.sites))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The input '(attention_mask|lengths)'")
        report = lens.diagnose(model, data, who, ["dead_features"], progress=False)
    if report.skipped:
        assert len(report.skipped["dead_features"].split()) > 3
    else:
        found = report.tree["dead_features"]
        assert set(found["examples"].values.tolist()) == {12}
        assert schema.from_json(found.attrs["left_out"]) == {}


def test_a_training_is_looked_at_in_eval_mode_and_not_disturbed():
    model, plain = late(), late()
    rows = loader(*BATCHES)
    for watched in (model, plain):
        watched.train()
        optimizer = torch.optim.SGD(watched.parameters(), lr=0.1)
        session = lens.Lens(model, WHO, ["dead_features"])
        with session if watched is model else torch.enable_grad():
            for audio, visual, labels in rows:
                optimizer.zero_grad()
                nn.functional.cross_entropy(watched(audio, visual), labels).backward()
                if watched is model:
                    session.step(labels)
                    found = session.dataset()
                optimizer.step()
        if watched is model:
            assert found["examples"].values.tolist() == [20, 20]
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
