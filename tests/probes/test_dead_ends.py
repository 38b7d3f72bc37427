"""What dead_features says of activations' ends, against stored maps."""

import numpy as np
import pytest
import torch
import xarray as xr
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
def test_marks_are_exact_also_once_only_peaks_are_looked_at(sizes, inplace):
    model = Trio(inplace=inplace).eval()
    with torch.no_grad():
        model.nets["a"][1].bias[2] = -50.0
        model.nets["v"][1].bias[1] = 40.0  # never at 0
        model.nets["t"][0].weight[3] = 0  # constant
        model.nets["t"][1].bias[3] = 7.0
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
        np.testing.assert_array_equal(mine["constant"], maps.amax((0, 2)) == maps.amin((0, 2)))


def dead_of(maps: Tensor, size: int) -> xr.Dataset:
    """Look at maps (examples, channels, height, width) through a model that only rectifies."""

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Sequential(nn.ReLU()), nn.Linear(1, 4)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.a(a).mean((2, 3))[:, :4] + self.b(b)

    rows = (maps, torch.randn(len(maps), 1), torch.arange(len(maps)) % 4)
    loader = list(zip(*(each.split(size) for each in rows), strict=True))
    who = {"a": "a", "b": "b"}
    report = lens.diagnose(Late().eval(), loader, who, ["dead_features"])
    return report.tree["dead_features"].to_dataset()


@pytest.mark.parametrize("size", [1, 8, 100, 200])
def test_a_channel_that_comes_to_life_late_is_not_constant(size):
    maps = torch.rand(200, 8, 3, 3) + 1
    maps[:, 1] = 3.0
    maps[:, 2] = 0.0
    maps[:, 3] = 3.0
    maps[150, 3, 1, 1] = 2.0  # its peak is as ever
    maps[:, 4] = 3.0
    maps[150, 4] = 4.0
    maps[:, 5] = 3.0 * (1 + 1e-7 * torch.rand(200, 3, 3))
    maps[:, 6] = torch.arange(200.0)[:, None, None]  # constant in each example
    found = dead_of(maps, size)
    marked = {mark: set(np.flatnonzero(found[mark])) for mark in ("dead", "constant")}
    assert marked == {"dead": {2}, "constant": {1, 2}}
    assert set(np.flatnonzero(found["low_variance"])) == {1, 2, 5}


def test_lower_ends_are_not_looked_at_once_no_channel_can_be_constant(monkeypatch):
    looked = []

    def amin(self: Tensor, *args: object) -> Tensor:
        looked.append(self.shape)
        return reduce(self, *args)

    reduce = Tensor.amin
    maps = torch.rand(640, 8, 3, 3) + 1
    maps[:, 0] *= 1e-2
    monkeypatch.setattr(Tensor, "amin", amin)
    dead_of(maps, 64)
    assert looked.count((64, 8, 3, 3)) == 1
    maps[:, 1] = 3.0
    looked.clear()
    dead_of(maps, 64)
    assert looked.count((64, 8, 3, 3)) == 10


@pytest.mark.parametrize("size", [64, 200])
def test_low_variance_is_beside_what_the_layer_spans_not_beside_zero(size):
    maps = 1000 + 2 * torch.rand(200, 64, 3, 3) + 3 * torch.rand(200, 64, 1, 1)
    maps[:, 0] = 3e-4 * torch.rand(200, 3, 3)
    maps[:, 0, 0, 0] = 0
    assert not dead_of(maps, size)["low_variance"].any()
