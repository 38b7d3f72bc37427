"""Integrated gradients on models: exact where that is known, and nothing left behind."""

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.observer import chosen_probes
from imbalance_lens.probes.integrated_gradients import IntegratedGradients
from imbalance_lens.testing import assert_passive

NAMES = ("audio", "visual", "text")


class Additive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.audio = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True))
        self.visual, self.text = nn.Sequential(nn.Linear(4, 5), nn.Dropout()), nn.Linear(4, 5)
        self.head = nn.Linear(15, 3)

    def forward(self, audio: Tensor, visual: Tensor, text: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual), self.text(text)], 1))


WHO = {name: name for name in NAMES}


def batches(size: int = 9, count: int = 3) -> list[tuple[dict[str, Tensor], Tensor]]:
    draw = torch.Generator().manual_seed(1)
    return [
        ({n: torch.randn(size, 4, generator=draw) for n in NAMES}, torch.arange(size) % 3)
        for _ in range(count)
    ]


@pytest.mark.parametrize("target", ["label", "predicted"])
def test_a_linear_head_gives_each_modality_exactly_what_it_adds_alone(target):
    model, data = Additive(), batches()
    with assert_passive(model):
        report = lens.diagnose(model, data, WHO, [IntegratedGradients(target=target)])
    found = report.tree["integrated_gradients"]
    model.eval()
    alone: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    for inputs, labels in data:
        of = labels if target == "label" else model(**inputs).argmax(1)
        for k, name in enumerate(NAMES):
            weight = model.head.weight[of, 5 * k : 5 * k + 5]
            features = model.get_submodule(name)(inputs[name])
            alone[name].append((features * weight).sum(1).detach())
    parts = {name: torch.cat(values) for name, values in alone.items()}
    sizes = torch.stack(list(parts.values())).abs().sum(0)
    for name, values in parts.items():
        at = found.sel(modality=name)
        assert at["attribution"].item() == pytest.approx(values.mean().item(), abs=1e-4)
        assert at["share"].item() == pytest.approx((values.abs() / sizes).mean().item(), abs=1e-4)
    assert found["max_delta"] < 1e-4
    assert found.attrs["examples"] == 27


def test_a_head_may_change_what_it_gets_in_place():
    class InPlace(Additive):
        def forward(self, audio: Tensor, visual: Tensor, text: Tensor) -> Tensor:
            parts = [self.audio(audio), self.visual(visual), self.text(text)]
            return self.head(torch.cat([part.relu_() for part in parts], 1))

    model = InPlace()
    with assert_passive(model):
        report = lens.diagnose(model, batches(), WHO, ["integrated_gradients"])
    assert report.tree["integrated_gradients"]["max_delta"] < 1e-4


def test_an_encoder_that_is_detached_after_its_last_module_is_not_scored():
    class Detached(Additive):
        def forward(self, audio: Tensor, visual: Tensor, text: Tensor) -> Tensor:
            parts = [self.audio(audio).detach(), self.visual(visual), self.text(text)]
            return self.head(torch.cat(parts, 1))

    report = lens.diagnose(Detached(), batches(), WHO, ["integrated_gradients"])
    assert "features of 'audio' and have no gradient" in report.skipped["integrated_gradients"]


def test_every_pass_is_one_of_the_batch_and_their_number_is_as_said():
    model, sizes = Additive(), []
    model.head.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    lens.diagnose(model, batches(), WHO, [])
    plain = sizes.count(9)
    lens.diagnose(model, batches(), WHO, [IntegratedGradients(n_steps=10)])
    assert sizes.count(9) - 2 * plain == 3 * (10 + 1) + len(NAMES)
    assert max(sizes) == 9


def test_nothing_is_left_in_the_model_by_an_error_on_the_way():
    model, calls = Additive(), []

    def hook(*_) -> None:
        calls.append(1)
        if len(calls) == 20:
            raise RuntimeError("a hook of the user")

    model.head.register_forward_hook(hook)
    with assert_passive(model), pytest.raises(RuntimeError, match="a hook of the user"):
        lens.diagnose(model, batches(), WHO, ["integrated_gradients"])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_labels_are_needed_for_their_own_logits_only():
    unlabeled = [inputs for inputs, _ in batches()]
    report = lens.diagnose(Additive(), unlabeled, WHO, ["integrated_gradients"])
    assert report.skipped == {"integrated_gradients": "the loader gives no labels"}
    predicted = IntegratedGradients(target="predicted")
    report = lens.diagnose(Additive(), unlabeled, WHO, [predicted])
    assert report.tree["integrated_gradients"].attrs["examples"] == 27


def test_it_has_to_be_named():
    assert "integrated_gradients" not in chosen_probes(None)
