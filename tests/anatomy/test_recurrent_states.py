"""Recurrent layers give steps or layers first and examples second; fills know it."""

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind

EXAMPLES = 8


class ByState(nn.Module):
    """Reads the last state of a layer; `last` gives the same, one row per example."""

    def __init__(self, kind: type[nn.RNNBase], **settings) -> None:
        super().__init__()
        self.ear, self.last = kind(4, 5, 2, **settings), nn.Identity()
        self.eye, self.head = nn.Linear(6, 5), nn.Sequential(nn.Linear(10, 9), nn.Tanh())

    def state(self, audio: Tensor) -> Tensor:
        _, state = self.ear(audio)
        return (state[0] if isinstance(state, tuple) else state)[-1]

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([self.last(self.state(audio)), self.eye(visual)], 1))


class BySteps(ByState):
    """Reads the last step of all, (steps, batch, width), of which there are twice the examples."""

    def state(self, audio: Tensor) -> Tensor:
        steps, _ = self.ear(audio.repeat(1, 4, 1).transpose(0, 1))
        return steps[-1]


MODELS = [
    lambda: ByState(nn.LSTM, batch_first=True),
    lambda: ByState(nn.GRU, batch_first=True, bidirectional=False),
    lambda: ByState(nn.RNN, batch_first=True),
    lambda: BySteps(nn.GRU),
]


def inputs(seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    audio = torch.randn(EXAMPLES, 4, 4, generator=draw)
    return audio, torch.randn(EXAMPLES, 6, generator=draw)


@pytest.mark.parametrize("fill", ["permute", "shift", "mean", "zero"])
@pytest.mark.parametrize("make", MODELS, ids=["lstm", "gru", "rnn", "steps first"])
def test_a_fill_of_a_state_is_that_of_the_row_read_from_it(make, fill) -> None:
    torch.manual_seed(0)
    model = make()
    found = []
    for site in ("ear", "last"):
        with Replayer(model, Anatomy({"audio": site, "visual": "eye"})) as replayer:
            replay = replayer.capture(bind(model, inputs()))
            found.append(replay.logits({"visual"}, fill, 1))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("probe", ["permutation", "emap"])
def test_probes_that_exchange_states_answer_what_they_answer_of_rows(probe) -> None:
    torch.manual_seed(0)
    model, data = MODELS[0](), [(*inputs(seed), torch.arange(EXAMPLES)) for seed in range(3)]
    by_state, by_row = (
        lens.diagnose(model, data, {"audio": site, "visual": "eye"}, [probe]).tree[probe]
        for site in ("ear", "last")
    )
    assert dict(by_state.sizes) == dict(by_row.sizes)
    torch.testing.assert_close(
        torch.tensor(by_state["flip_rate"].values), torch.tensor(by_row["flip_rate"].values)
    )
