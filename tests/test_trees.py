"""No tensor is skipped, whatever holds it."""

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from imbalance_lens.trees import clone, map_tensors, tensors, zip_tensors

Pair = namedtuple("Pair", "left right")


class ModelOutput(OrderedDict):
    """Keeps attribute and item in step, as well-known model libraries do."""

    def __setitem__(self, key: str, value: object) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)


@dataclass(frozen=True)
class Answer:
    logits: Tensor
    note: str = "text"


class Plain:
    def __init__(self) -> None:
        self.hidden = torch.ones(2)
        self.name = "plain"


def model_output() -> ModelOutput:
    output = ModelOutput()
    output["logits"] = torch.ones(2)
    return output


TREES = {
    "tensor": lambda: torch.ones(2),
    "tuple": lambda: (torch.ones(2), 3),
    "named tuple": lambda: Pair(torch.ones(2), None),
    "list": lambda: [torch.ones(2), "text"],
    "dict": lambda: {"a": {"b": torch.ones(2)}},
    "user dict": lambda: UserDict(a=torch.ones(2)),
    "model output": model_output,
    "dataclass": lambda: Answer(torch.ones(2)),
    "object": Plain,
    "packed": lambda: pack_sequence([torch.ones(2)]),
    "size": lambda: (torch.ones(2), torch.Size([3])),
}


@pytest.mark.parametrize("make", TREES.values(), ids=TREES.keys())
def test_every_tensor_is_reached_and_the_kind_stays(make) -> None:
    before = make()
    after = map_tensors(lambda t: t * 2, before)
    assert type(after) is type(before)
    assert [t.tolist() for t in tensors(after)] == [[2.0, 2.0]]
    assert [t.tolist() for t in tensors(before)] == [[1.0, 1.0]], "the old one is untouched"


def test_attribute_and_item_of_a_model_output_stay_in_step() -> None:
    after = map_tensors(lambda t: t * 2, model_output())
    assert after.logits is after["logits"]


def test_a_clone_shares_no_memory_and_no_graph() -> None:
    weight = torch.ones(2, requires_grad=True)
    copied = clone({"a": weight * 2})["a"]
    assert not copied.requires_grad
    copied.zero_()
    assert weight.tolist() == [1, 1]


def test_packed_sequences_keep_their_lengths() -> None:
    packed = pack_sequence([torch.ones(3), torch.ones(1)])
    after = map_tensors(torch.zeros_like, packed)
    assert isinstance(after, PackedSequence)
    assert torch.equal(after.batch_sizes, packed.batch_sizes)


def test_zipping_different_structures_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        zip_tensors(torch.add, [torch.ones(1), torch.ones(1)], [torch.ones(1)])
    assert zip_tensors(torch.add, [torch.ones(1)], [torch.ones(1)])[0].item() == 2
