"""Every way to name the place where a signal is read and replaced."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from imbalance_lens import Anatomy
from imbalance_lens.errors import AnatomyError
from imbalance_lens.testing import assert_passive
from tests.anatomy.golden_models import Concat, capture


class Shared(nn.Module):
    """One trunk, called once per modality."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(3, 4), nn.Linear(8, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat([self.trunk(x), self.trunk(y)], 1))


def test_a_shared_trunk_is_replaced_call_by_call() -> None:
    model, x, y = Shared(), torch.randn(5, 3), torch.randn(5, 3)
    who = Anatomy({"x": "trunk#0", "y": "trunk#1"})
    for replay in capture(model, (x, y), who):
        features = torch.cat([torch.zeros(5, 4), model.trunk(y)], 1)
        torch.testing.assert_close(replay.logits({"y"}), model.head(features))
        torch.testing.assert_close(replay.features["y"], model.trunk(y))


class Methods(Shared):
    """Encoders that are methods."""

    def encode_x(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def encode_y(self, y: Tensor) -> Tensor:
        return self.trunk(y) * 2

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat([self.encode_x(x), self.encode_y(y)], 1))


def test_encoders_that_are_methods_are_replaced_and_given_back() -> None:
    model, x, y = Methods(), torch.randn(5, 3), torch.randn(5, 3)
    who = Anatomy({"x": "encode_x", "y": "encode_y"})
    with assert_passive(model):
        for replay in capture(model, (x, y), who):
            features = torch.cat([model.trunk(x), torch.zeros(5, 4)], 1)
            torch.testing.assert_close(replay.logits({"x"}), model.head(features))
    assert "encode_x" not in vars(model)


class Both(nn.Module):
    """One encoder with an output for each modality."""

    def __init__(self, container: type) -> None:
        super().__init__()
        self.container = container
        self.head = nn.Linear(4, 2)
        self.encoder = nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        both = self.encoder(self.container((("x", x), ("y", y))))
        values = both.values() if hasattr(both, "values") else [value for _, value in both]
        return self.head(torch.cat(list(values), 1))


@pytest.mark.parametrize("container", [dict, OrderedDict])
def test_one_part_of_an_output_is_replaced(container: type) -> None:
    model, x, y = Both(container), torch.randn(5, 2), torch.randn(5, 2)
    who = Anatomy({"x": "encoder[x]", "y": "encoder[y]"})
    for replay in capture(model, (x, y), who):
        features = torch.cat([torch.zeros(5, 2), y], 1)
        torch.testing.assert_close(replay.logits({"y"}), model.head(features))


def test_inputs_can_be_sites() -> None:
    model, x, y = Shared(), torch.randn(5, 3), torch.randn(5, 3)
    who = Anatomy({"x": "trunk", "y": "trunk"}, sites={"x": ("input:x",), "y": ("input:y",)})
    for replay in capture(model, (x, y), who):
        torch.testing.assert_close(replay.logits({"y"}), model(torch.zeros(5, 3), y))
        assert replay.features["x"] is x or torch.equal(replay.features["x"], x)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x_nett", "no module or method 'x_nett'. Did you mean 'x_net'"),
        ("x_net#3", "called 1 time"),
        ("x_net[audio]", "without a part 'audio'"),
        ("spare", "was not called"),
        ("input:z", "gets no input 'z'; it gets 'x', 'y'"),
        ("x_net[", "is no site"),
        ("ids", "no floating-point tensor"),
    ],
)
def test_a_path_that_does_not_fit_is_explained(path: str, message: str) -> None:
    class Odd(Concat):
        def __init__(self) -> None:
            super().__init__(torch.randn(3, 4), torch.zeros(3))
            self.spare, self.ids = nn.Linear(2, 2), nn.Identity()

        def fuse(self, x: Tensor, y: Tensor) -> Tensor:
            self.ids(torch.arange(3))
            return super().fuse(x, y)

    who = Anatomy({"x": "x_net", "y": "y_net"}, sites={"x": (path,)})
    with pytest.raises(AnatomyError, match=message.replace("(", r"\(")):
        next(capture(Odd(), (torch.ones(5, 2), torch.ones(5, 2)), who))
