"""Features of any shape become one row per example, or it is said why not."""

import pytest
import torch
from torch import Tensor

from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.observation import Observation
from imbalance_lens.probes._pooling import by_example, pooled
from imbalance_lens.probes.linear_probe import LinearProbe

EXAMPLES, CHANNELS = 6, 3
ROWS = torch.arange(EXAMPLES * CHANNELS).view(EXAMPLES, CHANNELS).float()


def around(values: Tensor, dim: int, count: int = 4) -> Tensor:
    """Spread values over a new dimension without changing their mean over it."""
    spread = torch.linspace(-1, 1, count)
    shape = [count if d == dim else 1 for d in range(values.ndim + 1)]
    return values.unsqueeze(dim) + spread.view(shape)


SHAPES = {
    "one number": (ROWS[:, 0], ROWS[:, :1]),
    "width": (ROWS, ROWS),
    "tokens": (around(ROWS, 1), ROWS),
    "image": (around(around(ROWS, 2), 3, 5), ROWS),
    "video": (around(around(around(ROWS, 2), 3, 5), 4, 2), ROWS),
    "steps first": (around(ROWS, 0), ROWS),
    "frames folded into the batch": (around(ROWS, 1).flatten(0, 1), ROWS),
    "frames of images": (around(around(around(ROWS, 1), 3), 4, 5).flatten(0, 1), ROWS),
    "half precision": (around(ROWS, 1).half(), ROWS),
    "double precision": (ROWS.double(), ROWS),
    "complex": (
        around(torch.complex(ROWS, -ROWS), 1),
        torch.stack([ROWS, -ROWS], 2).flatten(1),
    ),
}


@pytest.mark.parametrize(("values", "expected"), SHAPES.values(), ids=SHAPES)
def test_features_are_averaged_over_all_but_examples_and_channels(values, expected):
    found = pooled(values, EXAMPLES, "audio")
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, expected, atol=1e-2 if values.dtype == torch.half else 1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("dim", "values"),
    [
        (1, around(ROWS, 2)),
        (-2, around(ROWS, 2)),
        (-1, around(around(ROWS, 1), 1)),
        (3, around(around(ROWS, 1), 1)),
    ],
)
def test_the_dimension_of_the_channels_can_be_named(dim, values):
    torch.testing.assert_close(pooled(values, EXAMPLES, "audio", dim), ROWS)


@pytest.mark.parametrize("dim", [0, -3, 3, 7])
def test_a_dimension_that_cannot_hold_channels_is_refused(dim):
    with pytest.raises(SettingError, match=rf"channel_dims\['audio'\]={dim} names no dimension"):
        pooled(around(ROWS, 1), EXAMPLES, "audio", dim)


@pytest.mark.parametrize("values", [torch.ones(7, 3), torch.ones(()), torch.ones(4, 2, 6)])
def test_rows_that_belong_to_no_example_are_refused(values):
    with pytest.raises(NotApplicableError, match=r"features of 'audio' have the shape \("):
        by_example(values, EXAMPLES, "audio")


def test_each_modality_has_channels_of_its_own_dimension():
    labels = torch.arange(12) % 2
    seen = Observation(
        labels=labels,
        logits=torch.zeros(12, 2),
        modalities=("audio", "visual"),
        features={"audio": torch.randn(12, 5, 7), "visual": torch.randn(12, 5, 7)},
        modality_logits=dict.fromkeys(("audio", "visual"), torch.zeros(12, 2)),
    )
    probe = LinearProbe(channel_dims={"audio": 1})
    probe.observe(seen)
    assert probe.result()["channels"].values.tolist() == [5, 7, 12]
    with pytest.raises(SettingError, match="channel_dims names 'sound', which is no modality"):
        LinearProbe(channel_dims={"sound": 1}).observe(seen)


def test_channels_in_another_dimension_are_noticed_where_lengths_differ():
    probe = LinearProbe()
    for length in (7, 9):
        seen = Observation(
            labels=torch.arange(4) % 2,
            logits=torch.zeros(4, 2),
            modalities=("audio", "visual"),
            features={"audio": torch.randn(4, 5, length), "visual": torch.randn(4, 5)},
            modality_logits=dict.fromkeys(("audio", "visual"), torch.zeros(4, 2)),
        )
        if length == 7:
            probe.observe(seen)
        else:
            with pytest.raises(NotApplicableError, match="'audio' have 7 channels in one batch"):
                probe.observe(seen)
