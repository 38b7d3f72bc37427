"""Data and outputs of other kinds: what is meant is found, or said what is missing."""

from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import BatchError, SettingError
from tests.test_unseen_models import WHO, Late, data


def test_keys_that_forward_does_not_take_are_named() -> None:
    batch = {"audio": torch.ones(2, 4), "visual": torch.ones(2, 6), "id": ["x", "y"]}
    with pytest.raises(BatchError, match="does not take the keywords 'audio', 'visual', 'id'"):
        lens.diagnose(Late(), [{**batch, "label": torch.tensor([0, 1])}])


def test_features_beside_other_outputs_are_not_taken_for_logits() -> None:
    class Scores(Late):
        def forward(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
            both = torch.cat([self.ea(audio), self.ev(visual)], 1)
            return {"features": both, "score": both.sum(1)}

    with pytest.raises(BatchError, match="Pass logits=function"):
        lens.diagnose(Scores(), data(), WHO)


def test_named_logits_win_in_a_named_tuple() -> None:
    output = namedtuple("output", "features logits")

    class Named(Late):
        def forward(self, audio: Tensor, visual: Tensor):
            return output(torch.ones(len(audio), 7), super().forward(audio, visual))

    assert lens.diagnose(Named(), data(), WHO, ["zero_out"]).tree["zero_out"].sizes["label"] == 3


def test_a_function_that_splits_is_called_once_per_batch() -> None:
    batches = [{"audio": a, "visual": v, "y": y} for a, v, y in data()]
    report = lens.diagnose(Late(), batches, split=lambda b: (b, b.pop("y")), probes=["zero_out"])
    assert report.tree.attrs["examples"] == 16


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(8, 1, dtype=torch.int64), r"use labels\.squeeze\(1\)"),
        (torch.zeros(8, 3), r"Several labels per example.*not supported"),
    ],
)
def test_other_labels_get_advice_that_helps(labels: Tensor, message: str) -> None:
    with pytest.raises(BatchError, match=message):
        lens.diagnose(Late(), [(*data()[0][:2], labels)], WHO)


def test_one_logit_for_two_classes_gets_advice_that_helps() -> None:
    model = Late()
    model.head = nn.Linear(10, 1)
    batches = [(a, v, y % 2) for a, v, y in data()]
    with pytest.raises(BatchError, match=r"pass logits=lambda output: torch\.cat"):
        lens.diagnose(model, batches, WHO)
    two = lens.diagnose(
        model, batches, WHO, logits=lambda output: torch.cat([0 * output, output], 1)
    )
    assert two.tree["zero_out"].sizes["label"] == 2


@pytest.mark.parametrize("loader", [None, 3])
def test_what_is_no_loader_is_said(loader) -> None:
    with pytest.raises(BatchError, match="gives no batches"):
        lens.diagnose(Late(), loader, WHO)


@pytest.mark.parametrize("most", [0, 1.5, "3"])
def test_max_batches_is_a_whole_number(most) -> None:
    with pytest.raises(SettingError, match="max_batches must be a whole number above 0"):
        lens.diagnose(Late(), data(), WHO, max_batches=most)


@pytest.mark.parametrize("probe", ["dead_features", "zero_out"])
def test_a_batch_without_examples_is_named(probe) -> None:
    batch = data(1)[0]
    empty = tuple(tensor[:0] for tensor in batch)
    with pytest.raises(BatchError, match="Batch 2 of the loader has no example"):
        lens.diagnose(Late(), [batch, empty], WHO, probes=[probe])


@pytest.mark.parametrize(("bare", "message"), [(1, "2 .* has no labels"), (0, "2 .* has labels")])
def test_labels_in_some_batches_only_are_refused_and_not_taken_for_none(bare, message) -> None:
    batches = [(tuple(inputs), labels) for *inputs, labels in data(3)]
    batches[bare] = (batches[bare][0], None)
    with pytest.raises(BatchError, match=f"Batch {message}, where those before it have"):
        lens.diagnose(Late(), batches, WHO, ["zero_out"])
    with pytest.raises(BatchError, match=f"Batch {message}"):
        lens.diagnose(Late(), data(), WHO, ["linear_probe"], train=batches)
    assert lens.diagnose(Late(), batches, WHO, ["dead_features"]).tree.attrs["examples"] == 24
    hidden = lens.diagnose(Late(), batches, WHO, ["zero_out"], split=lambda batch: (batch[0], None))
    assert hidden.skipped == {"zero_out": "the loader gives no labels"}


@pytest.mark.parametrize("wrong", [torch.ones(8, 5), torch.ones(8, 4, dtype=torch.int64)])
def test_the_models_own_error_names_the_batch(wrong: Tensor) -> None:
    first, second = data()
    with pytest.raises(RuntimeError) as caught:
        lens.diagnose(Late(), [first, (wrong, *second[1:])], WHO)
    assert "(with batch 2 of the loader)" in caught.value.__notes__


def test_labels_out_of_range_name_the_batch() -> None:
    first, (audio, visual, labels) = data()
    with pytest.raises(BatchError, match="Label 7 is out of range") as caught:
        lens.diagnose(Late(), [first, (audio, visual, labels + 5)], WHO)
    assert "(with batch 2 of the loader)" in caught.value.__notes__
