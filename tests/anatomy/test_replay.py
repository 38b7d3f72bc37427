"""Encoders once, fusion many times: the numbers, and the models on which it is hard."""

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel

from imbalance_lens import Anatomy
from imbalance_lens.anatomy.replay import Replayer
from imbalance_lens.anatomy.trust import bypassing_inputs, check_replay
from imbalance_lens.batches import bind
from imbalance_lens.errors import AnatomyError, BatchError, NotApplicableError, SettingError
from imbalance_lens.formulas import coalitions, shapley_values
from imbalance_lens.testing import assert_passive
from tests.anatomy.golden_models import XY, Concat, Mlp, Passing
from tests.golden import NUMBERS


def double(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def capture(model, inputs, anatomy=XY, **options):
    replayer = Replayer(model, anatomy, **options)
    with replayer:
        yield replayer.capture(bind(model, inputs))


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
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x

    model = Concat(torch.ones(3, 4), torch.zeros(3))
    model.x_net, model.y_net = Counting(), Counting()
    for replay in capture(model, (torch.ones(5, 2), torch.ones(5, 2))):
        for present in coalitions(replay.modalities):
            replay.logits(present)
    assert (model.x_net.calls, model.y_net.calls) == (1, 1)


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


class Shared(nn.Module):
    """One trunk, called once per modality."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(3, 4), nn.Linear(8, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat([self.trunk(x), self.trunk(y)], 1))


def test_a_shared_trunk_is_replaced_call_by_call() -> None:
    model, x, y = Shared(), torch.randn(5, 3), torch.randn(5, 3)
    who = Anatomy({"x": "trunk#0", "y": "trunk#1"})
    for replay in capture(model, (x, y), who):
        features = torch.cat([torch.zeros(5, 4), model.trunk(y)], 1)
        torch.testing.assert_close(replay.logits({"y"}), model.head(features))
        torch.testing.assert_close(replay.features["y"], model.trunk(y))


class Methods(Shared):
    """Encoders that are methods."""

    def encode_x(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def encode_y(self, y: Tensor) -> Tensor:
        return self.trunk(y) * 2

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat([self.encode_x(x), self.encode_y(y)], 1))


def test_encoders_that_are_methods_are_replaced_and_given_back() -> None:
    model, x, y = Methods(), torch.randn(5, 3), torch.randn(5, 3)
    who = Anatomy({"x": "encode_x", "y": "encode_y"})
    with assert_passive(model):
        for replay in capture(model, (x, y), who):
            features = torch.cat([model.trunk(x), torch.zeros(5, 4)], 1)
            torch.testing.assert_close(replay.logits({"x"}), model.head(features))
    assert "encode_x" not in vars(model)


class Both(nn.Module):
    """One encoder with an output for each modality."""

    def __init__(self, container: type) -> None:
        super().__init__()
        self.container = container
        self.head = nn.Linear(4, 2)
        self.encoder = nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        both = self.encoder(self.container((("x", x), ("y", y))))
        values = both.values() if hasattr(both, "values") else [value for _, value in both]
        return self.head(torch.cat(list(values), 1))


@pytest.mark.parametrize("container", [dict, OrderedDict])
def test_one_part_of_an_output_is_replaced(container: type) -> None:
    model, x, y = Both(container), torch.randn(5, 2), torch.randn(5, 2)
    who = Anatomy({"x": "encoder[x]", "y": "encoder[y]"})
    for replay in capture(model, (x, y), who):
        features = torch.cat([torch.zeros(5, 2), y], 1)
        torch.testing.assert_close(replay.logits({"y"}), model.head(features))


def test_inputs_can_be_sites() -> None:
    model, x, y = Shared(), torch.randn(5, 3), torch.randn(5, 3)
    who = Anatomy({"x": "trunk", "y": "trunk"}, sites={"x": ("input:x",), "y": ("input:y",)})
    for replay in capture(model, (x, y), who):
        torch.testing.assert_close(replay.logits({"y"}), model(torch.zeros(5, 3), y))
        assert replay.features["x"] is x or torch.equal(replay.features["x"], x)


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


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x_nett", "no module or method 'x_nett'. Did you mean 'x_net'"),
        ("x_net#3", "called 1 time"),
        ("x_net[audio]", "without a part 'audio'"),
        ("spare", "was not called"),
        ("input:z", "gets no input 'z'; it gets 'x', 'y'"),
        ("x_net[", "is no site"),
        ("ids", "no floating-point tensor"),
    ],
)
def test_a_path_that_does_not_fit_is_explained(path: str, message: str) -> None:
    class Odd(Concat):
        def __init__(self) -> None:
            super().__init__(torch.randn(3, 4), torch.zeros(3))
            self.spare, self.ids = nn.Linear(2, 2), nn.Identity()

        def fuse(self, x: Tensor, y: Tensor) -> Tensor:
            self.ids(torch.arange(3))
            return super().fuse(x, y)

    who = Anatomy({"x": "x_net", "y": "y_net"}, sites={"x": (path,)})
    with pytest.raises(AnatomyError, match=message.replace("(", r"\(")):
        next(capture(Odd(), (torch.ones(5, 2), torch.ones(5, 2)), who))


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
