"""Gradients per encoder equal those of an ordinary backward pass, and touch nothing."""

import pytest
import torch
from torch import Tensor, nn

from imbalance_lens import Anatomy
from imbalance_lens.anatomy.gradients import encoder_gradients
from imbalance_lens.anatomy.readout import choose_readout
from imbalance_lens.errors import NotApplicableError
from imbalance_lens.testing import assert_passive
from tests.anatomy.golden_models import capture

WHO = Anatomy({"audio": "audio", "visual": "visual"}, head="head")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True))
        self.visual, self.head = nn.Linear(3, 5), nn.Linear(10, 3)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual)], 1))


INPUTS = torch.randn(6, 4), torch.randn(6, 3)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def test_they_equal_an_ordinary_backward_pass_in_eval_mode() -> None:
    model = Net()
    with assert_passive(model):
        for replay in capture(model, INPUTS, WHO):
            found = encoder_gradients(replay, LABELS, choose_readout(replay))
    model.eval()
    nn.functional.cross_entropy(model(*INPUTS), LABELS).backward()
    for name in ("audio", "visual"):
        parameters = model.get_submodule(name).parameters()
        wanted = torch.cat([parameter.grad.flatten() for parameter in parameters])
        torch.testing.assert_close(found[name].joint, wanted)
    model.zero_grad()
    alone = model.audio(INPUTS[0]) @ model.head.weight[:, :5].T + model.head.bias / 2
    nn.functional.cross_entropy(alone, LABELS).backward()
    wanted = torch.cat([parameter.grad.flatten() for parameter in model.audio.parameters()])
    torch.testing.assert_close(found["audio"].alone, wanted, rtol=1e-4, atol=1e-6)


def test_a_frozen_encoder_is_left_out() -> None:
    model = Net()
    model.audio.requires_grad_(False)
    for replay in capture(model, INPUTS, WHO):
        assert set(encoder_gradients(replay, LABELS, choose_readout(replay))) == {"visual"}


def test_encoders_without_known_parameters_say_so() -> None:
    who = Anatomy(WHO.encoders, parts={"audio": ("input:audio",)})
    for replay in capture(Net(), INPUTS, who):
        with pytest.raises(NotApplicableError, match="the parameters of 'audio' are not known"):
            encoder_gradients(replay, LABELS, choose_readout(replay))


def test_other_signals_can_be_fused_and_are_differentiable() -> None:
    for replay in capture(Net(), INPUTS, WHO):
        (audio,) = replay.signals["audio"]
        torch.testing.assert_close(replay.fuse({}), replay.logits_all)
        torch.testing.assert_close(replay.fuse({"audio": [audio * 0]}), replay.logits({"visual"}))
        moved = audio.clone().requires_grad_()
        with torch.enable_grad():
            replay.fuse({"audio": [moved]}).sum().backward()
        assert moved.grad is not None
        assert moved.grad.abs().sum() > 0


def test_a_shift_pairs_every_example_with_every_other() -> None:
    model = Net().eval()
    audio, visual = INPUTS
    for replay in capture(model, INPUTS, WHO):
        for draw in range(1, 6):
            shown = replay.logits({"audio"}, "shift", draw)
            torch.testing.assert_close(shown, model(audio, visual.roll(-draw, 0)))
