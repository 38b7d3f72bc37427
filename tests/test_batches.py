"""Batches of every usual form, and clear words about the others."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imbalance_lens.batches import Call, bind, check_labels, raw_batch, split_batch
from imbalance_lens.errors import BatchError

A, B, Y = torch.ones(2, 3), torch.zeros(2, 4), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("batch", "wanted"),
    [
        ((A, Y), A),
        ([A, B, Y], (A, B)),
        (((A, B), Y), (A, B)),
        (({"a": A, "b": B}, Y), {"a": A, "b": B}),
        ({"a": A, "b": B, "label": Y}, {"a": A, "b": B}),
        ({"a": A, "labels": Y}, {"a": A}),
        ({"a": A, "target": Y}, {"a": A}),
    ],
)
def test_inputs_and_labels_are_told_apart(batch, wanted) -> None:
    inputs, labels = split_batch(batch)
    assert str(inputs) == str(wanted)
    assert labels.dtype is torch.int64
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("batch", [A, {"a": A}, (A,)])
def test_a_batch_without_labels_has_empty_ones(batch) -> None:
    assert len(split_batch(batch)[1]) == 0


def test_a_function_of_the_user_splits_anything() -> None:
    inputs, labels = split_batch("a text", lambda batch: ((A, len(batch)), np.array([1, 0])))
    assert inputs[1] == 6
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ("text", "A batch of type str is not known"),
        ({"a": A, "label": Y, "target": Y}, "labels under 'label' and 'target'"),
        ((A, torch.eye(2)), r"got float32 of shape \(2, 2\). One-hot"),
        ((A, Y.float()), "got float32"),
        ((A, Y[:, None]), r"shape \(2, 1\)"),
        ((A, ["cat", "dog"]), "Labels of type list cannot be made a tensor"),
    ],
)
def test_what_is_no_batch_is_explained(batch, message: str) -> None:
    with pytest.raises(BatchError, match=message):
        split_batch(batch)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 5], "Label 5 is out of range"), ([-100, 1], "Label -100"), ([0], "2 examples and 1")],
)
def test_labels_that_do_not_fit_are_explained(labels: list[int], message: str) -> None:
    with pytest.raises(BatchError, match=message):
        check_labels(torch.tensor(labels), classes=3, batch_size=2)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (Y.to(torch.uint8), Y),
        ([1, 0], torch.tensor([1, 0])),
        (np.array([0.5, 1.5]), torch.tensor([0.5, 1.5], dtype=torch.float64)),
        (torch.eye(2, dtype=torch.int32), torch.eye(2, dtype=torch.int32)),
        (Y[:, None] / 2, Y[:, None] / 2),
        (None, torch.empty(0, dtype=torch.int64)),
    ],
)
def test_raw_labels_may_be_numbers_or_several_per_example(labels, wanted) -> None:
    inputs, given = raw_batch((A, labels))
    assert inputs is A
    assert given.dtype is wanted.dtype
    assert torch.equal(given, wanted)


class TwoInputs(nn.Module):
    def forward(self, audio: Tensor, visual: Tensor, scale: float = 1.0) -> Tensor:
        return audio.sum() + visual.sum() * scale


class OneMapping(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["a"].sum() - batch["b"].sum()


class OneSequence(nn.Module):
    def forward(self, views: list[Tensor]) -> Tensor:
        return views[0].sum() - views[1].sum()


class Many(nn.Module):
    def forward(self, *views: Tensor) -> Tensor:
        return sum(view.sum() for view in views)


class Keywords(nn.Module):
    def forward(self, **views: Tensor) -> Tensor:
        return views["a"].sum() - views["b"].sum()


@pytest.mark.parametrize(
    ("model", "inputs", "names", "answer"),
    [
        (TwoInputs(), (A, B), ("audio", "visual"), 6),
        (TwoInputs(), {"visual": B, "audio": A}, ("visual", "audio"), 6),
        (OneMapping(), {"a": A, "b": B}, ("a", "b"), 6),
        (OneSequence(), (A, B), ("views_0", "views_1"), 6),
        (Many(), (A, B, A), ("views_0", "views_1", "views_2"), 12),
        (Keywords(), {"a": A, "b": B}, ("a", "b"), 6),
    ],
)
def test_a_call_names_its_inputs_and_runs(model, inputs, names, answer) -> None:
    call = bind(model, inputs)
    assert tuple(call.inputs) == names
    assert call(model).item() == answer
    first = names[0]
    changed = call.with_inputs({first: call.inputs[first] + 1})
    assert changed(model).item() != answer or first == "visual"
    assert call(model).item() == answer


def test_a_call_is_rebuilt_from_arguments() -> None:
    call = Call.of(TwoInputs(), (A,), {"visual": B})
    assert tuple(call.inputs) == ("audio", "visual")
    assert call(TwoInputs()).item() == 6


def test_inputs_that_forward_does_not_take_are_explained() -> None:
    with pytest.raises(BatchError, match=r"TwoInputs.forward\(audio.*does not take the keywords"):
        bind(TwoInputs(), {"audio": A, "visual": B, "path": "x"})
    with pytest.raises(BatchError, match=r"does not take 4 positional argument"):
        bind(TwoInputs(), (A, B, A, A))
