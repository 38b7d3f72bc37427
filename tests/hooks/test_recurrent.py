"""Recurrent layers run without cuDNN where gradients are wanted, and only there."""

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.hooks.recurrent import differentiable

WHO = {"audio": "audio", "visual": "visual"}
PROBES = ["gradient_conflict", "integrated_gradients", "zero_out"]


class Listener(nn.Module):
    """A recurrent encoder, and another recurrent layer where the modalities have met."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.audio, self.visual = nn.LSTM(3, 4, batch_first=True), nn.Linear(3, 4)
        self.memory, self.head = nn.GRU(8, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        heard, _ = self.audio(audio)
        kept, _ = self.memory(torch.cat([heard, self.visual(visual)], 2))
        return self.head(kept[:, -1])


def batch(device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    audio, visual = torch.randn(2, 6, 7, 3, generator=draw).to(device)
    return audio, visual, torch.arange(6) % 2


def test_cudnn_is_off_while_gradients_are_enabled_and_comes_back():
    model = Listener()
    before = torch.backends.cudnn.enabled
    with differentiable(model):
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled == before
    with pytest.raises(RuntimeError, match="on the way"), differentiable(model):
        raise RuntimeError("on the way")
    assert torch.backends.cudnn.enabled == before
    with torch.no_grad(), differentiable(model):
        assert torch.backends.cudnn.enabled == before
    with differentiable(nn.Linear(2, 2)):
        assert torch.backends.cudnn.enabled == before


def test_every_pass_with_gradients_goes_without_it():
    model, passes = Listener(), set()

    def note(*_) -> None:
        passes.add((torch.is_grad_enabled(), torch.backends.cudnn.enabled))

    model.memory.register_forward_pre_hook(note)
    report = lens.diagnose(model, [batch()], WHO, PROBES)
    assert sorted(report.tree.children) == PROBES
    *inputs, labels = batch()
    lens.attribute_inputs(model, tuple(inputs), labels, WHO)
    assert passes == {(True, False), (False, torch.backends.cudnn.enabled)}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_recurrent_model_on_a_gpu_has_gradients_in_eval_mode():
    model = Listener()
    names = ("mean_cosine", "share")
    on_cpu, on_gpu = (
        lens.diagnose(model.to(device), [batch(device)], WHO, PROBES).tree
        for device in ("cpu", "cuda")
    )
    for probe, name in zip(PROBES, names, strict=False):
        torch.testing.assert_close(
            torch.tensor(on_gpu[probe][name].values),
            torch.tensor(on_cpu[probe][name].values),
            rtol=1e-3,
            atol=1e-4,
        )
