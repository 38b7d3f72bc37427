"""Encoders once, fusion many times: the numbers, the fills, the wrappers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel

from imbalance_lens import Anatomy
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.anatomy.self_check import check_replay
from imbalance_lens.batches import bind
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.formulas import coalitions, shapley_values
from imbalance_lens.testing import assert_passive
from tests.anatomy.golden_models import XY, Concat, Mlp, Passing, capture, double
from tests.golden import NUMBERS


@pytest.fixture
def split():
    golden = NUMBERS["split"]
    weight = torch.cat([double(golden["W1"]), double(golden["W2"])], 1)
    return Concat(weight, double(golden["b"])), (double(golden["phi1"]), double(golden["phi2"]))


def test_zeroed_features_give_the_golden_numbers_of_a_linear_head(split) -> None:
    for replay in capture(*split):
        wanted = double(NUMBERS["split"]["zero_out logits1 (full b)"])
        torch.testing.assert_close(replay.logits({"x"}), wanted)
        torch.testing.assert_close(replay.logits(()), double([NUMBERS["split"]["b"]] * 2))


def test_zeroed_features_give_the_golden_numbers_of_a_two_layer_head() -> None:
    golden = NUMBERS["mlp"]
    for replay in capture(Mlp(), (double([[1, -1]]), double([[2, 0.5]]))):
        torch.testing.assert_close(replay.logits_all, double(golden["full"]))
        torch.testing.assert_close(replay.logits({"x"}), double(golden["x only"]))
        torch.testing.assert_close(replay.logits({"y"}), double(golden["y only"]))
        torch.testing.assert_close(replay.logits(()), double(golden["none"]))


def test_every_encoder_runs_once_however_many_coalitions_are_asked() -> None:
    calls = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(self)
            return x

    model = Concat(torch.ones(3, 4), torch.zeros(3))
    model.x_net, model.y_net = Counting(), Counting()
    for replay in capture(model, (torch.ones(5, 2), torch.ones(5, 2))):
        for present in coalitions(replay.modalities):
            replay.logits(present)
    assert calls == [model.x_net, model.y_net]


def test_an_encoder_output_edited_in_place_by_the_model_is_replayed_as_it_was() -> None:
    class InPlace(Passing):
        def fuse(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.cat([x.relu_(), y.add_(1)], 1)

    x, y = torch.randn(6, 3), torch.randn(6, 3)
    for replay in capture(InPlace(), (x.clone(), y.clone())):
        check_replay(replay)
        wanted = torch.cat([torch.zeros(6, 3), y + 1], 1)
        torch.testing.assert_close(replay.logits({"y"}), wanted)
        torch.testing.assert_close(replay.logits({"y"}), wanted)


@pytest.mark.parametrize("fill", ["mean", "permute"])
def test_a_fill_takes_the_place_of_absent_features(fill: str) -> None:
    x, y = torch.randn(6, 3), torch.randn(6, 3)

    class Side(Passing):
        def fuse(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.cat([x, y], 1)

    for replay in capture(Side(), (x, y)):
        shown = replay.logits({"y"}, fill)[:, :3]
        if fill == "mean":
            torch.testing.assert_close(shown, x.mean(0).expand(6, 3))
        else:
            assert not (shown == x).all(1).any()
            torch.testing.assert_close(shown.sort(0).values, x.sort(0).values)


def test_the_input_fill_is_what_the_encoder_says_to_zeros() -> None:
    model = Concat(torch.randn(3, 4), torch.zeros(3))
    model.x_net = nn.Linear(2, 2)
    x, y = torch.randn(5, 2), torch.randn(5, 2)
    for replay in capture(model, (x, y)):
        torch.testing.assert_close(replay.logits({"y"}, "input"), model(torch.zeros(5, 2), y))


def test_token_ids_have_no_zero_input() -> None:
    model = Concat(torch.randn(3, 4), torch.zeros(3))
    model.x_net = nn.Embedding(7, 2)
    for replay in capture(model, (torch.tensor([1, 2]), torch.ones(2, 2))):
        with pytest.raises(NotApplicableError, match="integers only"):
            replay.logits({"y"}, "input")


def test_a_batch_of_one_cannot_be_permuted(split) -> None:
    model, (x, y) = split
    for replay in capture(model, (x[:1], y[:1])):
        with pytest.raises(NotApplicableError, match="batch of one"):
            replay.logits({"x"}, "permute")


def test_unknown_fills_and_modalities_are_named(split) -> None:
    for replay in capture(*split):
        with pytest.raises(SettingError, match="fill='noise' is not known"):
            replay.logits({"x"}, "noise")
        with pytest.raises(LookupError, match="No modality named 'z'"):
            replay.logits({"z"})


def test_wrapped_models_are_replayed_unwrapped(split) -> None:
    model, inputs = split
    plain = [replay.logits({"x"}) for replay in capture(model, inputs)]
    compiled = torch.compile(model, backend="eager")
    compiled(*inputs)
    for wrapped in (DataParallel(model), compiled):
        again = [replay.logits({"x"}) for replay in capture(wrapped, inputs)]
        assert torch.equal(again[0], plain[0])


def test_a_compiled_encoder_is_replaced() -> None:
    model = Concat(torch.randn(3, 4), torch.zeros(3))
    inputs = (torch.randn(5, 2), torch.randn(5, 2))
    model.x_net = torch.compile(nn.Linear(2, 2), backend="eager")
    model(*inputs)
    for replay in capture(model, inputs):
        torch.testing.assert_close(replay.logits({"y"}), model.fuse(inputs[0] * 0, inputs[1]))


def test_a_replay_runs_under_the_autocast_of_its_pass() -> None:
    model = Concat(torch.randn(3, 4), torch.zeros(3))
    inputs = (torch.randn(5, 2), torch.randn(5, 2))
    with Replayer(model, XY) as replayer:
        with torch.autocast("cpu", torch.bfloat16):
            replay = replayer.capture(bind(model, inputs))
            inside = model(inputs[0], inputs[1] * 0)
        assert torch.equal(replay.logits({"x"}), inside)


def test_a_replayer_leaves_no_trace_also_after_an_error(split) -> None:
    model, inputs = split

    def use(fail: bool) -> None:
        with Replayer(model, XY) as replayer:
            replayer.capture(bind(model, inputs)).logits({"x"})
            if fail:
                raise RuntimeError("half-way")

    with assert_passive(model):
        use(fail=False)
    with assert_passive(model), pytest.raises(RuntimeError, match="half-way"):
        use(fail=True)


def test_six_modalities_give_shapley_values_that_add_up() -> None:
    names = [f"view{i}" for i in range(6)]

    class Six(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nets = nn.ModuleDict({name: nn.Linear(2, 3) for name in names})
            self.head = nn.Sequential(nn.Linear(18, 8), nn.ReLU(), nn.Linear(8, 4))

        def forward(self, **views: Tensor) -> Tensor:
            return self.head(torch.cat([self.nets[name](views[name]) for name in names], 1))

    views = {name: torch.randn(5, 2) for name in names}
    who = Anatomy({name: f"nets.{name}" for name in names})
    for replay in capture(Six(), views, who):
        values = {present: replay.logits(present) for present in coalitions(names)}
        total = sum(shapley_values(values).values())
        torch.testing.assert_close(total, replay.logits_all - replay.logits(()))
