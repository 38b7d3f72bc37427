"""Models whose encoders keep something of a pass besides what they give."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import AnatomyError
from tests.test_unseen_models import WHO, Late, data


class Remembering(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        self.last = super().forward(input)
        return self.last


class SideChannel(Late):
    """The head reads what the encoder left on itself."""

    def __init__(self) -> None:
        super().__init__()
        self.ev = Remembering(6, 5)

    def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
        return super().fuse(audio, self.ev.last)


def test_a_head_that_reads_an_attribute_of_an_encoder_is_found_out() -> None:
    with pytest.raises(AnatomyError, match="reads something that an encoder leaves behind"):
        lens.diagnose(SideChannel(), data(), WHO)
    found = lens.find_anatomy(SideChannel(), data()[0][:2])
    assert found.sites["visual"] == ("input:visual",)


class Sizing(Late):
    """The head takes from an encoder how many examples there are."""

    def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
        return super().fuse(audio.view(len(self.ev.last), -1), visual)


class Scaling(Late):
    """The head reckons with how many examples there are."""

    def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
        return super().fuse(audio, visual) * len(self.ev.last)


@pytest.mark.parametrize("kind", [Sizing, Scaling])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_head_may_read_how_many_examples_an_encoder_got(kind: type[Late], size: int) -> None:
    model, plain = kind(), Late()
    model.ev = Remembering(6, 5)
    model.load_state_dict(plain.state_dict())
    found = lens.diagnose(model, data(size=size), WHO, ["zero_out"]).tree["zero_out"]
    assert found.attrs["examples"] == 2 * size
    expected = lens.diagnose(plain, data(size=size), WHO, ["zero_out"]).tree["zero_out"]
    np.testing.assert_array_equal(found["accuracy"], expected["accuracy"])


@pytest.mark.parametrize(
    "part",
    [
        lambda kept: kept[0],
        lambda kept: kept[-1],
        lambda kept: kept[-2:].mean(0),
        lambda kept: kept.mean(0),
    ],
    ids=["first", "last", "last two", "mean"],
)
@pytest.mark.parametrize("size", [3, 8])
def test_a_head_that_reads_a_part_of_what_an_encoder_kept_is_found_out(part, size: int) -> None:
    class Reading(Late):
        def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
            return super().fuse(audio, visual + part(self.ev.last))

    model = Reading()
    model.ev = Remembering(6, 5)
    with pytest.raises(AnatomyError, match="reads something that an encoder leaves behind"):
        lens.diagnose(model, data(size=size), WHO)


def test_infinite_logits_hide_nothing() -> None:
    class Masking(Late):
        def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
            logits = super().fuse(audio, visual + self.ev.last.mean(0))
            return logits.index_fill(1, torch.tensor([2]), -torch.inf)

    model = Masking()
    model.ev = Remembering(6, 5)
    with pytest.raises(AnatomyError, match="reads something that an encoder leaves behind"):
        lens.diagnose(model, [(a, v, y % 2) for a, v, y in data()], WHO)


def test_a_model_that_is_random_for_more_than_two_examples_is_called_random() -> None:
    class Random(Late):
        def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
            logits = super().fuse(audio, visual)
            return logits + torch.randn_like(logits) if len(logits) > 2 else logits

    with pytest.raises(AnatomyError, match="random or keeps state"):
        lens.diagnose(Random(), data(), WHO)


def test_what_a_forward_leaves_on_a_module_is_gone_afterwards() -> None:
    model = Late()
    model.ev = Remembering(6, 5)
    lens.diagnose(model, data(), WHO, ["zero_out"])
    assert not hasattr(model.ev, "last")
