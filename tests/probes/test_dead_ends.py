"""The ends of dead_features' activations, against stored maps."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens


class Trio(nn.Module):
    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({name: self.encoder(inplace) for name in "avt"})
        self.head = nn.Linear(15, 4)

    @staticmethod
    def encoder(inplace: bool) -> nn.Sequential:
        conv, relu = nn.Conv2d(1, 6, 3), nn.ReLU(inplace)
        return nn.Sequential(conv, nn.BatchNorm2d(6), relu, nn.Flatten(), nn.Linear(294, 5))

    def forward(self, a: Tensor, v: Tensor, t: Tensor) -> Tensor:
        features = [net(x) for net, x in zip(self.nets.values(), (a, v, t), strict=True)]
        return self.head(torch.cat(features, 1))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("sizes", [[1] * 7, [64, 70, 2], [40, 40, 40]], ids=str)
def test_ends_are_exact_also_after_the_floor_was_reached(sizes, inplace):
    model = Trio(inplace=inplace).eval()
    with torch.no_grad():
        model.nets["a"][1].bias[2] = -50.0
        model.nets["v"][1].bias[1] = 40.0  # never at 0
    data = [
        {name: torch.randn(n, 1, 9, 9) for name in "avt"} | {"label": torch.arange(n) % 4}
        for n in sizes
    ]
    data[-1]["t"][0, 0, 3, 3] = torch.nan
    who = {name: f"nets.{name}" for name in "avt"}
    report = lens.diagnose(model, data, who, ["dead_features"])
    found = report.tree["dead_features"]
    for name in "avt":
        relu = nn.Sequential(*list(model.nets[name].children())[:2], nn.ReLU())
        with torch.no_grad():
            maps = torch.cat([relu(batch[name].clone()) for batch in data]).flatten(2)
        mine = found.to_dataset().isel(channel=found["channel_layer"] == f"nets.{name}.1 > relu")
        np.testing.assert_array_equal(mine["dead_rate"], (maps == 0).all(2).double().mean(0))
        np.testing.assert_array_equal(mine["nan_examples"], maps.isnan().any(2).sum(0))
        np.testing.assert_allclose(mine["highest"], maps.amax((0, 2)), rtol=1e-5)
        np.testing.assert_allclose(mine["lowest"], maps.amin((0, 2)), rtol=1e-5)
