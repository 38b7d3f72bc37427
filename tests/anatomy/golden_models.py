"""The hand-worked fusions of the golden numbers, with encoders that pass their input on."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_lens import Anatomy
from imbalance_lens.anatomy.replay import Replay
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind

XY = Anatomy(encoders={"x": "x_net", "y": "y_net"})


class Passing(nn.Module):
    """Two encoders that pass on, and a fusion of their outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.x_net, self.y_net = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fuse(self.x_net(x), self.y_net(y))

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        raise AssertionError("every fusion of these tests says its own")


class Concat(Passing):
    """One linear map of the concatenation."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], 1) @ self.weight.T + self.bias


class Mlp(Passing):
    """Two layers over the concatenation."""

    first = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, -1], [1, 1, -1, 0]], dtype=torch.float64)
    bias = torch.tensor([-2, 0.1, 0.5], dtype=torch.float64)
    second = torch.tensor([[1.0, 0, 1], [0, 1, -1]], dtype=torch.float64)

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(torch.cat([x, y], 1) @ self.first.T + self.bias) @ self.second.T


class Gated(Passing):
    """A gate from one modality on the other: the gated one's zero feature silences both."""

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(x) * y


class Bilinear(Passing):
    """An element-wise product: no modality alone says anything."""

    def fuse(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y + 1


def double(values: Any) -> Tensor:
    """Return a tensor in the precision of the golden numbers."""
    return torch.tensor(values, dtype=torch.float64)


def capture(
    model: nn.Module, inputs: Any, anatomy: Anatomy = XY, **options: Any
) -> Iterator[Replay]:
    """Yield the one replay of a model and its inputs while the replayer is open."""
    with Replayer(model, anatomy, **options) as replayer:
        yield replayer.capture(bind(model, inputs))
