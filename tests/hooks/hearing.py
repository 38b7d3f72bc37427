"""A model made of one function, and what is heard in it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from imbalance_lens.hooks.activations import activations
from imbalance_lens.observation import Activation

BATCH = 4


class Model(nn.Module):
    """What a function of this model and its input says, with some modules to call."""

    def __init__(self, run: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def heard_in(model: nn.Module, x: Tensor, **settings: bool) -> dict[str, Activation]:
    model.eval()
    with torch.no_grad(), activations(model, BATCH, **settings) as heard:
        model(x)
    return dict(heard)


def only(heard: dict[str, Activation]) -> tuple[str, Activation]:
    (item,) = heard.items()
    return item


def pictures(channels: int = 3, side: int = 9) -> Tensor:
    return torch.randn(BATCH, channels, side, side)
