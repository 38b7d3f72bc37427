"""Models whose encoders keep something of a pass besides what they give."""

import pytest
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


class Centering(Late):
    """The head takes from an encoder what all examples have in common."""

    def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
        return super().fuse(audio, visual - self.ev.last.mean(0))


@pytest.mark.parametrize("size", [2, 8])
def test_a_head_may_read_the_size_of_a_batch_but_no_mean(size: int) -> None:
    sizing, centering = Sizing(), Centering()
    sizing.ev, centering.ev = Remembering(6, 5), Remembering(6, 5)
    report = lens.diagnose(sizing, data(size=size), WHO, ["dead_features", "logit_norm"])
    assert report.tree.attrs["examples"] == 2 * size
    if size > 2:
        with pytest.raises(AnatomyError, match="reads something that an encoder leaves behind"):
            lens.diagnose(centering, data(size=size), WHO)


def test_what_a_forward_leaves_on_a_module_is_gone_afterwards() -> None:
    model = Late()
    model.ev = Remembering(6, 5)
    lens.diagnose(model, data(), WHO, ["zero_out"])
    assert not hasattr(model.ev, "last")
