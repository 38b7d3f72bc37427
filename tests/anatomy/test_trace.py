"""The flow of values is followed through everything that a tensor can go through."""

import gc
import subprocess
import sys
import weakref

import pytest
import torch
from torch import Tensor, nn

from imbalance_lens.anatomy.leaves import batch_size, first_rows, leaves, mapped
from imbalance_lens.anatomy.trace import places, trace
from imbalance_lens.batches import Call


def depends(function) -> set[str]:
    """Return which of a, b the answer of a function of both depends on."""

    class Model(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return function(a, b)

    call = Call({"a": torch.rand(3, 4) + 1, "b": torch.rand(3, 4) + 1})
    return set(trace(Model(), call).output.inputs)


def written_in_place(a, b):
    a.add_(b)
    return a


def written_through_a_view(a, b):
    a[:, 1:].copy_(b[:, 1:])
    return a


def written_as_out(a, b):
    out = torch.empty(3, 4)
    torch.mul(a, b, out=out)
    return out


def written_into_a_buffer(a, b):
    buffer = torch.zeros(3, 8)
    buffer[:, :4] = a
    buffer[:, 4:] = b
    return buffer


def written_as_indices(a, b):
    return a.index_add(0, torch.arange(3), b)


def written_as_a_list(a, b):
    torch._foreach_add_([a], [b])
    return a


def chosen_by(a, b):
    return torch.where(b > 1, a, -a)


def sorted_by(a, b):
    return a[b[:, 0].argsort()]


def multiplied_by_zero(a, b):
    return a + 0 * b


def through_complex_numbers(a, b):
    return torch.fft.rfft(a + b).abs()


@pytest.mark.parametrize(
    "function",
    [
        torch.add,
        written_in_place,
        written_through_a_view,
        written_as_out,
        written_into_a_buffer,
        written_as_indices,
        written_as_a_list,
        chosen_by,
        sorted_by,
        multiplied_by_zero,
        through_complex_numbers,
    ],
)
def test_both_reach_the_answer(function):
    assert depends(function) == {"a", "b"}


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + torch.zeros_like(b),
        lambda a, b: a + b.new_ones(b.shape),
        lambda a, b: a.expand_as(b).view(b.shape[0], -1),
        lambda a, b: a + torch.rand_like(b),
        lambda a, b: a.type_as(b),
        lambda a, b: (b.add_(1), a)[1],
    ],
    ids=["zeros_like", "new_ones", "shape", "rand_like", "dtype", "unused"],
)
def test_what_only_lends_its_shape_does_not_reach_the_answer(function):
    assert depends(function) == {"a"}


def test_a_value_is_followed_where_addresses_are_used_again():
    def reuse(a, b):
        for _ in range(50):
            (b * 2).sum()  # freed at once
        return torch.rand(3, 4) + a

    assert depends(reuse) == {"a"}


def test_sources_hide_what_they_are_made_from():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, a: Tensor) -> Tensor:
            return self.last(self.first(a))

    seen = trace(Model(), Call({"a": torch.rand(3, 4)}))
    first = next(call for call in seen.calls if call.path == "first")
    (answer,) = seen.output.values[""]

    assert seen.flow.tags(seen.sources)[answer] == {"a"}
    cut = {**seen.sources, **dict.fromkeys(first.stamps, "first")}
    assert seen.flow.tags(cut)[answer] == {"first"}


def test_calls_are_counted_and_ordered_by_their_ends():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4))

        def forward(self, a: Tensor) -> Tensor:
            return self.inner(self.inner(a))

    calls = trace(Model(), Call({"a": torch.rand(3, 4)})).calls

    assert [(seen.path, seen.index) for seen in calls] == [
        ("inner.0", 0),
        ("inner", 0),
        ("inner.0", 1),
        ("inner", 1),
        ("", 0),
    ]


def test_no_tensor_of_the_pass_is_kept():
    kept = []

    class Model(nn.Module):
        def forward(self, a: Tensor) -> Tensor:
            kept.append(weakref.ref((a * 2).untyped_storage()))
            return a * 3

    seen = trace(Model(), Call({"a": torch.rand(3, 4)}))
    gc.collect()

    assert seen.output.inputs == {"a"}
    assert kept[0]() is None


def test_the_compiler_is_not_loaded_for_a_watched_pass():
    code = (
        "import sys, torch; from torch import nn; from imbalance_lens.batches import Call;"
        "from imbalance_lens.anatomy.trace import trace;"
        "trace(nn.Linear(2, 2), Call({'input': torch.ones(2, 2)}));"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_places_are_written_as_sites_write_them():
    assert list(places({"x": 1, "y": 2})) == ["x", "y"]
    assert list(places((1, 2))) == ["0", "1"]
    assert list(places(torch.ones(2))) == [""]
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(2)])
    assert places(packed) == {"": packed}


def test_leaves_are_counted_down_to_the_mappings():
    call = Call({"data": {"a": torch.ones(5, 2), "b": [torch.ones(5)]}, "scale": 2.0})

    assert list(leaves(call)) == ["data.a", "data.b"]
    doubled = mapped(lambda name, t: t * 2 if name == "data.b" else t, call)
    assert doubled.inputs["data"]["b"][0].tolist() == [2.0] * 5
    assert call.inputs["data"]["b"][0].tolist() == [1.0] * 5


def test_only_the_batch_is_cut():
    call = Call({"a": torch.ones(5, 2), "b": torch.ones(5), "table": torch.ones(7, 5)})
    cut = first_rows(call, 2)

    assert batch_size(call) == 5
    assert [len(cut.inputs[name]) for name in call.inputs] == [2, 2, 7]


def test_a_packed_sequence_is_never_cut():
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])

    assert batch_size(Call({"a": torch.ones(5, 2), "b": packed})) == 0
