"""Copies of inputs that many passes share, and models that write into what they get."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.anatomy.copies import Copies
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.errors import SignalBypassWarning
from imbalance_lens.formulas import coalitions

WHO = {"a": "a", "b": "b"}


def shares(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr()


@torch.no_grad()
def test_what_nobody_has_written_into_is_lent_again():
    inputs = {"x": torch.randn(3, 2), "more": [torch.arange(3), {"y": torch.ones(3, 1)}]}
    copies = Copies(inputs)
    first, second = copies.lend(), copies.lend()
    assert shares(first["x"], second["x"])
    assert not shares(first["x"], inputs["x"])
    assert first["more"] is not second["more"]
    first["more"][1].clear()
    assert torch.equal(copies.lend()["more"][1]["y"], torch.ones(3, 1))
    assert copies.untouched()


@torch.no_grad()
@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.add_(1),
        lambda x: x[0].zero_(),
        lambda x: x.unsqueeze_(0).mul_(2),
        lambda x: x.t_().fill_(3),
        lambda x: torch.relu_(x),
        lambda x: x.detach_().sub_(1),
        torch.enable_grad()(lambda x: x.mul_(nn.Parameter(torch.ones(2)))),
    ],
    ids=["add_", "row", "unsqueeze_", "t_", "relu_", "detach_", "with a graph"],
)
def test_what_was_written_into_is_copied_anew(write: Callable[[Tensor], Any]):
    original = torch.randn(3, 2)
    inputs = {"x": original.clone(), "y": torch.ones(3)}
    copies = Copies(inputs)
    for _ in range(3):
        lent = copies.lend()
        assert torch.equal(lent["x"], original)
        kept = lent["y"]
        write(lent["x"])
    assert torch.equal(inputs["x"], original)
    assert shares(copies.lend()["y"], kept)
    assert copies.untouched()


@torch.no_grad()
def test_another_shape_is_no_write():
    copies = Copies({"x": torch.randn(3, 2)})
    copies.lend()["x"].unsqueeze_(0)
    assert copies.lend()["x"].shape == (3, 2)


@torch.no_grad()
def test_writes_that_are_not_counted_are_seen_by_comparing():
    copies = Copies({"x": torch.ones(3)})
    copies.lend()["x"].data.mul_(2)
    assert copies.untouched() is False


@pytest.mark.parametrize(
    ("context", "change"),
    [
        (torch.enable_grad, torch.clone),
        (torch.inference_mode, torch.clone),
        (torch.no_grad, lambda x: x.clone().requires_grad_()),
        (torch.no_grad, Tensor.to_sparse),
        (torch.no_grad, lambda x: nn.Parameter(x, requires_grad=False)),
    ],
    ids=["grad", "inference", "leaf", "sparse", "parameter"],
)
def test_what_cannot_be_shared_is_copied_each_time(
    context: Any, change: Callable[[Tensor], Tensor]
):
    tensor = change(torch.ones(3))
    with context():
        copies = Copies({"x": tensor})
        first, second = copies.lend()["x"], copies.lend()["x"]
        assert first is not second
        assert torch.equal(first.to_dense(), tensor.to_dense())
        if not tensor.is_sparse:
            assert not shares(first, second)
        assert copies.untouched() is None


class Late(nn.Module):
    """Fusion reads the inputs too, after `prepare` has had its way with them."""

    def __init__(self, prepare: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.head = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(6, 3)
        self.prepare = prepare
        self.seen: list[int] = []

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.seen.append(a.data_ptr())
        self.prepare(a)
        mask = (a > 0).any(1, keepdim=True)
        return self.head(torch.cat([self.a(a), self.b(b)], 1)) * mask


def batches() -> list[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return [(*(torch.randn(6, 4, generator=draw) for _ in "ab"), torch.arange(6) % 3)] * 3


def untouched(x: Tensor) -> None:
    pass


def late_write(calls: SimpleNamespace) -> Callable[[Tensor], Any]:
    def prepare(x: Tensor) -> None:
        calls.n += 1
        if calls.n > 20:
            x.sub_(1)

    return prepare


def fusions(model: Late) -> list[Tensor]:
    found = []
    with torch.no_grad(), Replayer(model, lens.Anatomy(WHO)) as replayer:
        for *inputs, _ in batches():
            replay = replayer.capture(bind(model, tuple(inputs)))
            found += [replay.logits(present) for present in coalitions(replay.modalities)]
            found += [replay.rerun("ab") for _ in range(2)]
    return found


@pytest.mark.parametrize(
    "write", [lambda x: x.sub_(1), lambda x: x.data.sub_(1)], ids=["counted", "not counted"]
)
def test_a_model_that_writes_into_its_inputs_is_replayed_as_one_that_does_not(write):
    class Careful(Late):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return super().forward(a - 1, b)

    expected = fusions(Careful(untouched))
    for mine, wanted in zip(fusions(Late(write)), expected, strict=True):
        torch.testing.assert_close(mine, wanted)


def test_a_model_that_begins_to_write_later_does_not_spoil_what_others_get():
    model, data = Late(late_write(SimpleNamespace(n=0))), batches()
    with pytest.warns(SignalBypassWarning):
        lens.diagnose(model, data, WHO, ["shapley"])
    for given, wanted in zip(data, batches(), strict=True):
        assert all(map(torch.equal, given, wanted))


class Masked(nn.Linear):
    def forward(self, input: Tensor, mask: Tensor) -> Tensor:
        return super().forward(input) + mask


class Unmasking(Late):
    """Writes into a mask that an encoder got, where the other modality is absent."""

    def __init__(self) -> None:
        super().__init__(untouched)
        self.a = Masked(4, 3)

    def forward(self, a: Tensor, mask: Tensor, b: Tensor) -> Tensor:
        signals = [self.a(a, mask), self.b(b)]
        if not signals[1].any():
            mask.zero_()
        return self.head(torch.cat(signals, 1))


@torch.no_grad()
def test_what_an_encoder_got_stays_whatever_a_later_replay_writes():
    model, (a, b, _), answers = Unmasking(), batches()[0], []
    for asked in (False, True):
        with Replayer(model, lens.Anatomy(WHO)) as replayer:
            replay = replayer.capture(bind(model, (a, a[:, :1] > 0, b)))
            if asked:
                replay.logits(["a"])
            answers.append(replay.logits(["b"], "input"))
    torch.testing.assert_close(*answers)


def test_replays_of_a_batch_share_one_copy():
    model, (batch, *_) = Late(untouched), batches()
    with torch.no_grad(), Replayer(model, lens.Anatomy(WHO)) as replayer:
        replay = replayer.capture(bind(model, batch[:2]))
        model.seen.clear()
        for present in coalitions(replay.modalities):
            for fill in ("zero", "mean", "permute"):
                replay.logits(present, fill)
    assert len(model.seen) == 9
    assert len(set(model.seen)) == 1
    assert model.seen[0] != batch[0].data_ptr()


class Overwriting(Late):
    """The head writes into the features it gets."""

    def __init__(self) -> None:
        super().__init__(untouched)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        features = self.a(a).relu_().mul_(2)
        return self.head(torch.cat([features, self.b(b)], 1))


@torch.no_grad()
def test_features_that_are_handed_in_are_not_written_into():
    model, (a, b, _) = Overwriting(), batches()[0]
    with Replayer(model, lens.Anatomy(WHO)) as replayer:
        replay = replayer.capture(bind(model, (a, b)))
        given = replay.signals["a"][0] - 1
        wanted = given.clone()
        first, second = (replay.fuse({"a": [given]}) for _ in range(2))
    assert torch.equal(given, wanted)
    torch.testing.assert_close(first, second)
