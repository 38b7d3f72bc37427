"""Forward hooks that a user has placed on an encoder, in replays."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.anatomy.self_check import check_replay
from imbalance_lens.batches import bind

from .late import AUDIO, VISUAL, LateConcat

WHO = Anatomy({"audio": "audio_net", "visual": "visual_net"})
INPUTS = (torch.randn(4, AUDIO), torch.randn(4, VISUAL))


def shifted(_: nn.Module, __: tuple, output: Tensor) -> Tensor:
    return output + 1


def doubled_in_place(_: nn.Module, __: tuple, output: Tensor) -> None:
    output.mul_(2)


def features(model: nn.Module) -> dict[str, Tensor]:
    with torch.no_grad():
        return {
            "audio": model.get_submodule("audio_net")(INPUTS[0]),
            "visual": model.get_submodule("visual_net")(INPUTS[1]),
        }


@pytest.mark.parametrize("hook", [shifted, doubled_in_place])
@pytest.mark.parametrize("absent", ["audio", "visual"])
def test_absent_features_are_zero_after_the_hooks(hook: Callable[..., Any], absent: str) -> None:
    model = LateConcat().eval()
    model.audio_net.register_forward_hook(hook)
    held = features(model)
    held[absent] = torch.zeros_like(held[absent])
    (present,) = held.keys() - {absent}

    with Replayer(model, WHO) as replayer:
        replay = replayer.capture(bind(model, INPUTS))
        check_replay(replay)
        found = replay.logits({present})
        torch.testing.assert_close(replay.features["audio"], features(model)["audio"])

    torch.testing.assert_close(found, model.head(torch.cat([*held.values()], 1)).detach())
    assert list(model.audio_net._forward_hooks.values()) == [hook]


def test_the_answer_to_a_zero_input_goes_through_the_hooks() -> None:
    model = LateConcat().eval()
    model.audio_net.register_forward_hook(shifted)
    with Replayer(model, WHO) as replayer, torch.no_grad():
        found = replayer.capture(bind(model, INPUTS)).logits({"visual"}, fill="input")
        wanted = model(torch.zeros_like(INPUTS[0]), INPUTS[1])
    torch.testing.assert_close(found, wanted)


class FromHooks(LateConcat):
    """Its fusion reads what the hooks on the encoders have kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[nn.Module, Tensor] = {}
        for encoder in (self.audio_net, self.visual_net):
            encoder.register_forward_hook(self.keep)

    def keep(self, encoder: nn.Module, _: tuple, output: Tensor) -> None:
        self.kept[encoder] = output

    def encode(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        super().encode(audio, visual)
        return self.kept[self.audio_net], self.kept[self.visual_net]


def test_a_fusion_that_reads_what_a_hook_kept_gets_what_stands_in() -> None:
    model = FromHooks().eval()
    held = features(model)
    wanted = model.head(torch.cat([held["audio"], torch.zeros_like(held["visual"])], 1)).detach()
    with Replayer(model, WHO) as replayer:
        replay = replayer.capture(bind(model, INPUTS))
        check_replay(replay)
        torch.testing.assert_close(replay.logits({"audio"}), wanted)


def test_gradients_pass_through_a_hooked_encoder() -> None:
    model = LateConcat().eval()
    model.audio_net.register_forward_hook(shifted)
    with Replayer(model, WHO) as replayer, torch.enable_grad():
        replay = replayer.capture(bind(model, INPUTS)).with_graph()
        replay.logits_all.sum().backward()
    assert model.audio_net[0].weight.grad is not None
