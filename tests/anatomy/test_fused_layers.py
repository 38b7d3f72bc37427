"""Sites inside transformer layers, which PyTorch computes past their parts in eval mode."""

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind

FAST = torch.backends.mha.get_fastpath_enabled


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ea, self.words, self.head = nn.Linear(4, 8), nn.Linear(6, 8), nn.Linear(16, 3)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2
        )

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        read = self.layers(self.words(text)).mean(1)
        return self.head(torch.cat([self.ea(audio), read], 1))


def who(text: str) -> Anatomy:
    return Anatomy({"audio": "ea", "text": text})


INPUTS = (torch.randn(4, 4), torch.randn(4, 5, 6))


@pytest.mark.parametrize("part", ["self_attn", "linear2", "norm2"])
def test_a_site_inside_a_fused_layer_is_reached(part: str) -> None:
    model = Transformer().eval()
    with torch.no_grad():
        own = model(*INPUTS)
    with Replayer(model, who(f"layers.layers.1.{part}")) as replayer:
        replay = replayer.capture(bind(model, INPUTS))
        torch.testing.assert_close(replay.logits_all, own)
        assert not torch.equal(replay.logits({"audio"}), own)
    assert FAST()


def test_the_fast_path_comes_back_after_an_error() -> None:
    model = Transformer()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        lens.diagnose(
            model,
            [(torch.randn(4, 9), INPUTS[1], torch.arange(4) % 3)],
            who("layers.layers.1.norm2"),
        )
    assert FAST()


def test_the_fast_path_stays_where_nobody_looks_inside() -> None:
    with Replayer(Transformer(), who("layers.layers.1")):
        assert FAST()
