"""Models and batches that once ended in an error of Python's own, or in a number that misleads."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import AnatomyError, BatchError

from .test_unseen_models import WHO, Late, data


class Held:
    """Holds a tensor, and itself."""

    def __init__(self, audio: Tensor) -> None:
        self.audio, self.me = audio, self


class Unpacking(Late):
    def forward(self, audio: Any, visual: Tensor) -> Tensor:
        return super().forward(audio.audio, visual)


def test_a_batch_that_contains_itself_is_refused_in_words() -> None:
    loader = [(Held(audio), visual, labels) for audio, visual, labels in data()]
    with pytest.raises(BatchError, match=r"contains itself.*pass split=function"):
        lens.diagnose(Unpacking(), loader, WHO)


@pytest.mark.parametrize("made", [torch.jit.script, lambda m: torch.jit.trace(m, data()[0][:2])])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_model_scripted_as_a_whole_is_told_what_to_write(made) -> None:
    with pytest.raises(AnatomyError, match=r"Give the model that it was made from.*'input:"):
        lens.diagnose(made(Late().eval()), data())


class Contrastive(Late):
    def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
        return audio @ visual.T


def test_a_smaller_last_batch_of_a_contrastive_model_is_explained() -> None:
    loader = [(a, v, torch.arange(len(a))) for a, v, _ in (*data(1), *data(1, size=3))]
    with pytest.raises(BatchError, match=r"gave 8 logits .* now gives 3; .*drop_last=True"):
        lens.diagnose(Contrastive(), loader, WHO)


class Attending(nn.Module):
    """Returns (attention, features)."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.read = nn.Linear(6, 2), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.score(x).softmax(1), self.read(x)


class Attended(Late):
    def __init__(self) -> None:
        super().__init__()
        self.ev = Attending()

    def fuse(self, audio: Tensor, visual: Any) -> Tensor:
        return super().fuse(audio, visual[1])


def test_a_head_that_does_not_fit_says_how_to_choose_the_features() -> None:
    heads = {"audio": nn.Linear(5, 3), "visual": nn.Linear(5, 3)}
    with pytest.raises(BatchError, match=r"\(8, 2\).*not \(8, 5\).*\{'visual': 'ev\[1\]'\}"):
        lens.diagnose(Attended(), data(), WHO, ["logit_norm"], heads=heads)
    chosen = {**WHO, "visual": "ev[1]"}
    assert not lens.diagnose(Attended(), data(), chosen, ["logit_norm"], heads=heads).skipped
