"""Unimodal logits: exact where the head adds up, refused where nothing can be read."""

import pytest
import torch
from torch import Tensor, nn

from imbalance_lens import Anatomy
from imbalance_lens.anatomy.readout import choose_readout, read_logits
from imbalance_lens.anatomy.replay import Replay
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.errors import BatchError, SettingError
from tests.anatomy.golden_models import XY, Bilinear, Concat, Gated, Mlp, Passing, double
from tests.golden import NUMBERS


@pytest.fixture
def replayed():
    open_ones = []

    def replay(model: nn.Module, *inputs: Tensor, anatomy: Anatomy = XY) -> Replay:
        replayer = Replayer(model, anatomy)
        open_ones.append(replayer.__enter__())
        return replayer.capture(bind(model, inputs))

    yield replay
    for replayer in open_ones:
        replayer.__exit__()


def test_a_linear_head_is_split_into_the_golden_numbers(replayed) -> None:
    golden = NUMBERS["split"]
    weight = torch.cat([double(golden["W1"]), double(golden["W2"])], 1)
    model = Concat(weight, double(golden["b"]))
    replay = replayed(model, double(golden["phi1"]), double(golden["phi2"]))
    readout = choose_readout(replay)
    assert readout.kind == "linear_split"
    assert readout.additivity_gap < 1e-12
    parts = read_logits(readout, replay)
    torch.testing.assert_close(parts["x"], double(golden["logits1"]))
    torch.testing.assert_close(parts["y"], double(golden["logits2"]))


@pytest.mark.parametrize("modalities", [2, 3, 4])
@pytest.mark.parametrize("fusion", ["concat", "sum", "conv"])
def test_the_parts_of_an_additive_head_sum_to_the_logits(replayed, modalities, fusion) -> None:
    names = [f"m{i}" for i in range(modalities)]

    class Additive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nets = nn.ModuleDict({name: nn.Linear(3, 4) for name in names})
            self.heads = nn.ModuleList(nn.Linear(4, 5) for _ in names)
            self.wide = nn.Linear(4 * modalities, 5)
            self.conv = nn.Conv1d(4 * modalities, 5, 1)

        def forward(self, **inputs: Tensor) -> Tensor:
            features = [self.nets[name](inputs[name]) for name in names]
            if fusion == "sum":
                return sum(h(f) for h, f in zip(self.heads, features, strict=True))
            joined = torch.cat(features, 1)
            return self.wide(joined) if fusion == "concat" else self.conv(joined[..., None])[..., 0]

    model = Additive()
    inputs = {name: torch.randn(6, 3) for name in names}
    with Replayer(model, Anatomy({n: f"nets.{n}" for n in names})) as replayer:
        replay = replayer.capture(bind(model, inputs))
        readout = choose_readout(replay)
        assert readout.kind == "linear_split"
        parts = read_logits(readout, replay)
        torch.testing.assert_close(sum(parts.values()), replay.logits_all, atol=1e-5, rtol=1e-5)


def test_a_head_that_mixes_is_read_with_zeroed_features(replayed) -> None:
    replay = replayed(Mlp(), double([[1, -1], [0.5, 2]]), double([[2, 0.5], [-1, 1]]))
    readout = choose_readout(replay)
    assert readout.kind == "zero_out"
    assert torch.equal(read_logits(readout, replay)["x"], replay.logits({"x"}))


@pytest.mark.parametrize(
    ("model", "readable"),
    [(Gated(), {"x": False, "y": True}), (Bilinear(), {"x": False, "y": False})],
    ids=["gated", "bilinear"],
)
def test_a_head_for_which_zero_is_not_absent_is_found_out(replayed, model, readable) -> None:
    readout = choose_readout(replayed(model, torch.randn(8, 3), torch.randn(8, 3)))
    assert (readout.kind, readout.identifiable) == ("zero_out", readable)


def test_a_modality_that_is_never_used_is_no_fault_of_the_head(replayed) -> None:
    class Deaf(Passing):
        def fuse(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.tanh(x) + 0 * y

    readout = choose_readout(replayed(Deaf(), torch.randn(8, 3), torch.randn(8, 3)))
    assert readout.identifiable == {"x": True, "y": True}


def test_given_heads_win(replayed) -> None:
    heads = {"x": nn.Linear(3, 3), "y": nn.Linear(3, 3)}
    x, y = torch.randn(8, 3), torch.randn(8, 3)
    replay = replayed(Gated(), x, y)
    readout = choose_readout(replay, heads)
    assert readout.kind == "heads"
    assert torch.equal(read_logits(readout, replay, heads)["x"], heads["x"](x))


def test_heads_that_do_not_fit_are_explained(replayed) -> None:
    replay = replayed(Gated(), torch.randn(8, 3), torch.randn(8, 3))
    with pytest.raises(SettingError, match=r"heads must have the modalities \['x', 'y'\]"):
        choose_readout(replay, {"x": nn.Identity()})
    heads = {"x": nn.Linear(3, 2), "y": nn.Identity()}
    with pytest.raises(BatchError, match="head of 'x' gives"):
        read_logits(choose_readout(replay, heads), replay, heads)
