"""Models, data and words that the tests of G-Blend share."""

import functools

import torch
from torch import nn
from torch.utils.data import DataLoader

from imbalance_lens.testing import (
    PlantedData,
)
from recipes.g_blend import (
    estimate_weights,
)

SGD = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)
estimated = functools.partial(estimate_weights, optimizer=SGD, progress=False)
HEADS = ["audio", "visual", "joint"]


def numbers(weights):
    return {name: weight.item() for name, weight in weights.items()}


def terms(losses):
    """G and O from T, V before and after, as the paper's eq. 3 and its appendix have them."""
    gained = {name: v - v_after for name, (_, v, _, v_after) in losses.items()}
    paid = {
        name: (v_after - t_after) - (v - t) for name, (t, v, t_after, v_after) in losses.items()
    }
    return gained, paid


class Noisy(nn.Module):
    """BatchNorm, dropout and a counter of calls in every encoder."""

    def __init__(self, modalities=("audio", "visual")):
        super().__init__()
        self.modalities = modalities
        for name in modalities:
            self.add_module(name, Counted())
        self.head = nn.Linear(8 * len(modalities), 4)

    def forward(self, **inputs):
        features = [self.get_submodule(name)(inputs[name]) for name in self.modalities]
        return self.head(torch.cat(features, dim=1))


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.3)
        )
        self.examples = ExamplesSeen()

    def forward(self, x):
        if self.training:
            self.examples.count += len(x)
        return self.layers(x)


class ExamplesSeen:
    """Shared among copies, so that what copies do is counted too."""

    count = 0

    def __deepcopy__(self, memo):
        return self


def noisy(examples=96, **options):
    torch.manual_seed(0)
    signal = {"audio": 2.0, "visual": 0.7}
    data = PlantedData(signal, examples=examples)
    return Noisy(), DataLoader(data, 16, **{"shuffle": True, **options})
