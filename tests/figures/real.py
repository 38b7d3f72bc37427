"""Datasets made by the real probes, and by real short trainings."""

from functools import cache, partial

import torch
import xarray as xr

import recipes
from imbalance_lens import Lens, feature_maps, over_epochs, scan_filters
from imbalance_lens.capacity import join
from imbalance_lens.probes import PROBES
from tests.probes.contract import observed
from tests.probes.world import World
from tests.recipes.trainings import loader_of, model_of, sgd

NAMES = ("audio", "visual", "text", "depth", "touch", "$m_ell$")
QUICKLY = {
    "zero_out": {"average_precision": False, "resamples": 20},
    "shapley": {"resamples": 20},
    "permutation": {"resamples": 20},
    "missing_modality": {"resamples": 20},
    "agreement": {"resamples": 20},
    "linear_probe": {"resamples": 20, "C": 0.01},
}
FEW, MANY = (2, 3), (6, 300)
"""Modalities and classes."""

OF_PROBES = {
    "zero_out": "zero_out",
    "class_gain": "zero_out",
    "shapley": "shapley",
    "shapley_per_example": "shapley",
    "shapley_per_class": "shapley",
    "logit_norm": "logit_norm",
    "logit_norm_per_class": "logit_norm",
    "discrepancy": "discrepancy",
    "abnormal_batchnorm": "abnormal_batchnorm",
    "dead_features": "dead_features",
    "agreement": "agreement",
    "calibration": "calibration",
    "missing_modality": "missing_modality",
    "permutation": "permutation",
    "linear_probe": "linear_probe",
    "ogr": "ogr",
    "learning_curves": "ogr",
    "dead_probability": "capacity",
}
OF_TRAININGS = {
    "discrepancy": "ogm_ge",
    "coefficient": "ogm_ge",
    "coefficient_ratio": "ogm_ge",
    "drop_probability": "opm",
    "blend_weights": "g_blend",
    "accuracy_curves": "ogm_ge",
    "loss_curves": "ogm_ge",
}
OF_STATES = {"linear_probe_curves": "linear_probe", "class_gain": "zero_out"}


def nth(count: int) -> tuple[str, ...]:
    return NAMES[:count]


@cache
def answers(modalities: int, classes: int) -> dict[str, xr.Dataset]:
    """What every probe says of a world of so many modalities and classes."""
    world = World(nth(modalities), examples=48, classes=classes)
    found = {}
    for name in {*OF_PROBES.values(), "emap"} - {"capacity"}:
        probe = partial(PROBES.get(name), **QUICKLY.get(name, {}))
        found[name] = observed(probe, world.history()).result()
    found["capacity"] = join(found["dead_features"], found["abnormal_batchnorm"])
    return found


@cache
def states(modalities: int, classes: int, probe: str) -> xr.Dataset:
    """What a probe says of two states of a world, of which the second sees fewer examples."""
    later = World(nth(modalities), examples=40, classes=classes)
    again = observed(partial(PROBES.get(probe), **QUICKLY[probe]), later.history()).result()
    return over_epochs([answers(modalities, classes)[probe], again])


class Looking(torch.nn.Module):
    """A convolution whose BatchNorm layer switches every fourth channel off, and a ReLU."""

    def __init__(self, planes: int = 3, channels: int = 16) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(planes, channels, 5)
        self.norm = torch.nn.BatchNorm2d(channels)
        with torch.no_grad():
            self.norm.weight[::4], self.norm.bias[::4] = 1e-12, -5e-11
            self.norm.weight[1::8], self.norm.bias[1::8] = 1e-3, -9e-3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)))


@cache
def looked(figure: str) -> xr.Dataset:
    """The maps, or the filters, of a convolution with dead channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, images = Looking(), torch.randn(8, 3, 24, 40)
    return scan_filters(net) if figure == "filters" else feature_maps(net, images, "norm > relu")


@cache
def history(recipe: str) -> xr.Dataset:
    """What a short training with a recipe recorded."""
    fit = recipes.apply(
        recipe,
        model_of(),
        loader_of(),
        epochs=2,
        val_loader=loader_of(),
        optimizer=sgd,
        seed=0,
        device="cpu",
        progress=False,
    )
    return fit.history


@cache
def comparison() -> xr.Dataset:
    """What two recipes come to over three seeds, one of them plain."""
    loaders = {"train": loader_of(), "test": loader_of()}
    found = recipes.compare(
        ["ogm_ge"], model_of, loaders, epochs=1, seeds=3, optimizer=sgd, device="cpu", flops=False
    )
    return found.dataset


@cache
def watched(probe: str) -> xr.Dataset:
    """What a probe saw of two epochs of a real training."""
    model = model_of(norm=True)
    optimizer = sgd(model.parameters())
    with Lens(model, {"audio": "audio", "visual": "visual"}, probes=[probe]) as session:
        for _ in range(2):
            for audio, visual, labels in loader_of():
                loss = torch.nn.functional.cross_entropy(model(audio, visual), labels)
                optimizer.zero_grad()
                loss.backward()
                session.step(labels)
                optimizer.step()
            session.epoch()
        return session.dataset(probe)
