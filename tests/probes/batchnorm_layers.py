"""BatchNorm layers from plain numbers."""

import torch

from imbalance_lens.observation import BatchNormState
from tests.golden import NUMBERS

GOLDEN = NUMBERS["bn_scan"]


def state(weight, bias, modality="", dtype=torch.float64):
    weight, bias = torch.tensor(weight, dtype=dtype), torch.tensor(bias, dtype=dtype)
    return BatchNormState(weight, bias, torch.zeros_like(bias), torch.ones_like(bias), modality)


def states(columns):
    layers = [list(zip(*pairs, strict=True)) for pairs in columns]
    return {f"net.{k}": state(weight, bias) for k, (weight, bias) in enumerate(layers)}


def golden_layer():
    return {"bn": state(GOLDEN["gamma"], GOLDEN["beta"])}
