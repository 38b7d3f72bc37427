"""Features in the order of time cannot be dropped by example."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import recipes
from imbalance_lens.errors import NotApplicableError


class Packed(nn.Module):
    """A recurrent encoder of padded sequences, beside a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.image = nn.GRU(3, 4, batch_first=True), nn.Linear(5, 4)
        self.head = nn.Linear(8, 2)

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(text, [4, 4, 4, 4], batch_first=True)
        states, _ = pad_packed_sequence(self.text(packed)[0], batch_first=True)
        return self.head(torch.cat([states[:, -1], self.image(image)], 1))


def test_opm_refuses_a_packed_sequence_instead_of_dropping_other_rows() -> None:
    batch = (torch.randn(4, 4, 3), torch.randn(4, 5), torch.tensor([0, 1, 0, 1]))
    who = {"text": "text", "image": "image"}
    with pytest.raises(NotApplicableError, match="'text' are a packed sequence"):
        recipes.apply("opm", Packed(), [batch], epochs=1, anatomy=who)
