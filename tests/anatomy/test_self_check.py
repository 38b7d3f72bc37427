"""Models whose replay would mislead are found out."""

import pytest
import torch
from torch import Tensor

from imbalance_lens.anatomy.self_check import bypassing_inputs, check_replay
from imbalance_lens.errors import AnatomyError
from tests.anatomy.golden_models import Concat, Passing, capture


def test_a_model_that_is_random_in_eval_mode_is_found_out() -> None:
    class Random(Passing):
        def fuse(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y + torch.randn_like(x)

    for replay in capture(Random(), (torch.ones(5, 2), torch.ones(5, 2))):
        with pytest.raises(AnatomyError, match="random or keeps state"):
            check_replay(replay)


def test_control_flow_that_depends_on_values_is_found_out() -> None:
    class Branching(Passing):
        def fuse(self, x: Tensor, y: Tensor) -> Tensor:
            return self.x_net(x + y) if x.abs().sum() > 0 else x + y

    for replay in capture(Branching(), (torch.ones(5, 2), torch.ones(5, 2))):
        with pytest.raises(AnatomyError, match=r"was called 1 time\(s\) in a replay and 2"):
            replay.logits({"y"})


def test_a_signal_that_passes_by_the_encoders_is_named() -> None:
    class Leaky(Passing):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.x_net(x) + self.y_net(y) + 0.1 * y

    inputs = (torch.randn(5, 2), torch.randn(5, 2))
    assert [bypassing_inputs(r) for r in capture(Leaky(), inputs)] == [("y",)]
    tight = Concat(torch.randn(3, 4), torch.zeros(3))
    assert [bypassing_inputs(r) for r in capture(tight, inputs)] == [()]
