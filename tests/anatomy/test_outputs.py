"""Which part of what a model returns is the logits."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from imbalance_lens.errors import BatchError
from tests.anatomy.golden_models import Concat, capture


@dataclass
class Answer:
    logits: Tensor
    extra: Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits, x: {"loss": x.mean(), "logits": logits},
        lambda logits, x: Answer(logits, x),
        lambda logits, x: (x, logits),
        lambda logits, x: [logits, logits.clone()],
    ],
    ids=["mapping", "dataclass", "features first", "twice"],
)
def test_the_logits_are_found_in_what_the_model_returns(wrap) -> None:
    class Wrapping(Concat):
        def forward(self, x: Tensor, y: Tensor):
            return wrap(super().forward(x, y), x)

    model = Wrapping(torch.randn(3, 4), torch.zeros(3))
    x, y = torch.randn(5, 2), torch.randn(5, 2)
    for replay in capture(model, (x, y)):
        torch.testing.assert_close(replay.logits_all, Concat.forward(model, x, y))
        torch.testing.assert_close(replay.logits({"x"}), Concat.forward(model, x, y * 0))


def test_two_outputs_that_all_modalities_reach_need_a_choice() -> None:
    class Two(Concat):
        def forward(self, x: Tensor, y: Tensor):
            logits = super().forward(x, y)
            return logits, logits * 2

    model = Two(torch.randn(3, 4), torch.zeros(3))
    inputs = (torch.randn(5, 2), torch.randn(5, 2))
    with pytest.raises(BatchError, match=r"2 part\(s\) that could be logits.*Pass logits=function"):
        next(capture(model, inputs))
    replay = next(capture(model, inputs, logits_of=lambda output: output[1]))
    assert torch.equal(replay.logits_all, model(*inputs)[1])


def test_a_map_of_logits_is_refused() -> None:
    class Maps(Concat):
        def forward(self, x: Tensor, y: Tensor):
            return super().forward(x, y)[..., None, None]

    with pytest.raises(BatchError, match="has no part"):
        next(capture(Maps(torch.randn(3, 4), torch.zeros(3)), (torch.ones(5, 2), torch.ones(5, 2))))
