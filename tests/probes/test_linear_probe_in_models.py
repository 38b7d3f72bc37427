"""The linear probe on models: which examples it sees, and what that costs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import BatchError
from imbalance_lens.testing import assert_passive

from .readable import CLASSES, NAMES, drawn


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


def loader(examples: int, seed: int) -> Any:
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
    plain, more = (
        lens.diagnose(Net(), loader(96, 2), WHO, [*names, "linear_probe"], train=train)
        for train in (None, loader(160, 1))
    )
    for name in names:
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


def test_training_examples_without_labels_spoil_only_what_is_fitted_on_them():
    unlabeled = [drawn(32)[0]]
    probes = ["linear_probe", "zero_out"]
    report = lens.diagnose(Net(), loader(96, 2), WHO, probes, train=unlabeled)
    assert report.skipped == {"linear_probe": "the training examples have no labels"}
    assert report.tree["zero_out"].attrs["examples"] == 96


def test_no_training_batch_is_said():
    with pytest.raises(BatchError, match="The loader of training examples gave no"):
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
