"""Unimodal heads that fit the model, and those that do not."""

import pytest
import torch
from torch import Tensor, nn

from imbalance_lens.errors import (
    SettingError,
)

from .trainings import (
    CLASSES,
    fitted,
    loader_of,
    model_of,
    same,
    weights_of,
)


@pytest.mark.parametrize("recipe", ["unimodal", "multi_loss", "mlb"])
def test_heads_have_the_precision_of_the_model(recipe: str) -> None:
    data = [(a.double(), v.double(), y) for a, v, y in loader_of()]
    fit = fitted(recipe, model_of().double(), data)
    assert {p.dtype for head in fit.heads.values() for p in head.parameters()} == {torch.float64}


def test_a_head_of_ones_own_that_does_not_fit_is_named() -> None:
    heads = {"audio": nn.Linear(8, CLASSES), "visual": nn.Linear(7, CLASSES)}
    with pytest.raises(SettingError, match=r"head of 'visual' does not take .* shape \(8, 8\)"):
        fitted("mlb", model_of(), heads=heads)


class Recurrent(nn.Module):
    """Its second encoder has its steps in front of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Linear(5, 8)
        self.visual = nn.GRU(4, 8)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        states, _ = self.visual(visual.expand(3, *visual.shape))
        return self.head(torch.cat([self.audio(audio), states[-1]], 1))


def test_features_that_are_not_by_example_get_no_head_and_are_named() -> None:
    with pytest.raises(SettingError, match=r"features of 'visual' are \(3, 8, 8\) for 8 examples"):
        fitted("mlb", model_of(Recurrent))


def test_an_optimizer_that_knows_parameters_by_name_trains_heads_all_the_same() -> None:
    def ends(named: bool) -> dict[str, Tensor]:
        model = model_of()
        parameters = model.named_parameters() if named else model.parameters()
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        fit = fitted("multi_loss", model, optimizer=optimizer)
        return {**weights_of(fit.model), **weights_of(fit.heads["audio"])}

    assert same(ends(named=True), ends(named=False))
