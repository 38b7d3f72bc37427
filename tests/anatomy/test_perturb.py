"""Inputs are changed one at a time, and only reactions count."""

import pytest
import torch
from torch import Tensor, nn

from imbalance_lens.anatomy.perturb import reactions
from imbalance_lens.batches import Call


class Model(nn.Module):
    """Answers a function of its inputs through a module of its own."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.out = nn.Identity()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out(self.function(a, b))


def reacting(function, a: Tensor, b: Tensor) -> set[str]:
    found = reactions(Model(function), Call({"a": a, "b": b}), ["a", "b"], {"out"})
    return {name for name, places in found.items() if ("out", 0, "") in places}


A, B = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[1.0, -2.0], [-4.0, 1.0]])


@pytest.mark.parametrize(
    "function",
    [
        torch.add,
        lambda a, b: a + 0 * b,
        lambda a, b: a * (b > 0),
        lambda a, b: a + b.nan_to_num(),
        lambda a, b: a + torch.from_numpy(b.numpy()),
        lambda a, b: a[b[:, 0].argsort()],
    ],
    ids=["added", "times zero", "compared", "NaN removed", "numpy", "sorted by"],
)
def test_both_are_seen(function):
    assert reacting(function, A, B) == {"a", "b"}


def test_what_is_cut_off_is_not_seen():
    assert reacting(lambda a, b: torch.cat([a, b], 1)[:, :2], A, B) == {"a"}


def test_integers_and_sparse_tensors_are_exchanged():
    assert reacting(lambda a, b: a * b, A, torch.tensor([[1, 2], [3, 4]])) == {"a", "b"}
    assert reacting(lambda a, b: torch.sparse.mm(b, a), A, B.to_sparse()) == {"a", "b"}


def test_an_input_that_cannot_be_changed_is_left_open():
    call = Call({"a": A, "b": torch.ones(2, 2, dtype=torch.long)})

    assert reactions(Model(torch.mul), call, ["a", "b"], {"out"}).keys() == {"a"}


def test_an_input_that_the_model_refuses_to_see_changed_is_left_open():
    def strict(a, b):
        if not torch.equal(b, B):
            raise ValueError("not the b that is wanted")
        return a + b

    assert reactions(Model(strict), Call({"a": A, "b": B}), ["a", "b"], {"out"}).keys() == {"a"}


def test_random_numbers_are_the_same_in_every_pass():
    assert reacting(lambda a, b: a + torch.rand(2, 2), A, B) == {"a"}


def test_nan_does_not_stay_in_a_buffer():
    class Average(Model):
        mean: Tensor

        def __init__(self):
            super().__init__(torch.add)
            self.register_buffer("mean", torch.zeros(2))

        def forward(self, a, b):
            self.mean.add_(a.mean(0))
            return super().forward(a, b)

    model = Average()
    reactions(model, Call({"a": A, "b": B}), ["a", "b"], {"out"})

    assert model.mean.tolist() == [0.0, 0.0]
