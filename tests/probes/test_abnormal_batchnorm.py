import json

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from imbalance_lens import Anatomy, Lens
from imbalance_lens.errors import NotApplicableError, NotAttachedError, SettingError
from imbalance_lens.observation import BatchNormState, Observation
from imbalance_lens.probes.abnormal_batchnorm import AbnormalBatchnorm, scan

from .batchnorm_layers import golden_layer, state

NONE = torch.empty(0)


def seen(batchnorms, *, step=0, epoch=0):
    return Observation(NONE, NONE, ("a", "b"), step, epoch, batchnorms=batchnorms)


def observed(*observations, **settings):
    probe = AbnormalBatchnorm(**settings)
    for observation in observations:
        probe.observe(observation)
    return probe


def test_every_epoch_keeps_its_last_step():
    def after(weight):
        return {"bn": state([weight, 1.0], [0.0, 0.0])}

    probe = observed(
        seen(after(1e-12), step=0, epoch=0),
        seen(after(1.0), step=1, epoch=0),
        seen(after(1e-3), step=2, epoch=1),
        seen(after(1e-12), step=3, epoch=1),
        thresholds=(1e-10,),
    )
    found = probe.result()
    assert found["abnormal_count"].dims == ("epoch", "threshold", "layer")
    assert found["epoch"].values.tolist() == [0, 1]
    assert found["abnormal_count"].values.flatten().tolist() == [0, 1]
    assert found["total_ratio"].values.flatten().tolist() == [0, 0.5]
    assert found["weight_min"].values.flatten().tolist() == [1, 1e-12]
    assert found["weight"].dims == ("channel",)
    assert found["weight"].values.tolist() == [1e-12, 1]
    assert found["channels"].dims == ("layer",)


def test_one_epoch_of_the_probe_is_the_scan():
    found = observed(seen(golden_layer())).result()
    xr.testing.assert_identical(found.isel(epoch=0, drop=True), scan(golden_layer()))


def test_the_probe_copies_what_training_goes_on_changing():
    live = nn.BatchNorm1d(3)
    probe = observed(seen({"bn": BatchNormState(live.weight, live.bias, NONE, NONE)}))
    with torch.no_grad():
        live.weight.zero_()
    assert (probe.result()["abnormal_count"] == 0).all()


def test_of_an_epoch_seen_twice_the_later_step_wins_whatever_the_order():
    early = observed(seen({"bn": state([0.0], [0.0])}, step=1))
    late = observed(seen({"bn": state([1.0], [0.0])}, step=2))
    late.observe(seen({"bn": state([0.5], [0.0])}, step=3, epoch=1))
    one, other = observed(), observed()
    for probe, parts in ((one, (early, late)), (other, (late, early))):
        for part in parts:
            probe.merge(part)
    xr.testing.assert_identical(one.result(), other.result())
    assert one.result()["weight_min"].values.tolist() == [[1.0], [0.5]]


def test_a_layer_that_came_later_is_missing_from_earlier_epochs():
    first, second = (
        {"bn": state([0.0], [0.0])},
        {"bn": state([1.0], [0.0]), "new": state([0.0], [0.0])},
    )
    found = observed(seen(first), seen(second, epoch=1), thresholds=(1e-10,)).result()
    counts = found["abnormal_count"].squeeze("threshold").values
    np.testing.assert_array_equal(counts, [[1, np.nan], [0, 1]])
    assert found["channels"].values.tolist() == [1, 1]


def test_the_settings_are_kept_and_the_thresholds_stay_in_order():
    found = observed(seen(golden_layer()), thresholds=[1e-2, 1e-10], criterion="gamma").result()
    assert json.loads(found.attrs["settings"]) == {
        "thresholds": [1e-2, 1e-10],
        "criterion": "gamma",
    }
    assert found["threshold"].values.tolist() == [1e-2, 1e-10]


def test_settings_that_cannot_be_are_refused_at_once():
    with pytest.raises(SettingError, match="criterion='both' is not known"):
        AbnormalBatchnorm(criterion="both")
    for given_thresholds in ((), (1e-2, 1e-2), 1e-2, "1e-2"):
        with pytest.raises(SettingError, match="one or more different numbers, such as"):
            AbnormalBatchnorm(thresholds=given_thresholds)  # pyright: ignore
    with pytest.raises(SettingError, match=r"A threshold must be above 0; got -1\.0"):
        scan(golden_layer(), (1e-2, -1))


def test_a_model_without_batchnorm_gets_the_reason():
    with pytest.raises(NotApplicableError, match="no BatchNorm layer with weight and bias"):
        AbnormalBatchnorm().observe(seen({}))
    with pytest.raises(NotApplicableError, match="no BatchNorm layer with weight and bias"):
        scan({})
    with pytest.raises(NotAttachedError, match="has seen no batch yet"):
        AbnormalBatchnorm().result()


class TwoNets(nn.Module):
    def __init__(self):
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.visual = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU())
        self.norm = nn.BatchNorm1d(9)
        self.head = nn.Linear(9, 2)

    def forward(self, audio, visual):
        return self.head(self.norm(torch.cat([self.audio(audio), self.visual(visual)], 1)))


def batches(count=3):
    labels = torch.tensor([0, 1] * 4)
    return [
        ({"audio": torch.randn(8, 3), "visual": torch.randn(8, 3)}, labels) for _ in range(count)
    ]


def planted():
    """A model with three channels of its visual encoder switched off."""
    model = TwoNets()
    with torch.no_grad():
        model.get_parameter("visual.1.weight")[:3] = 0
        model.get_parameter("visual.1.bias")[:3] = 0
    return model, Anatomy(encoders={"audio": "audio", "visual": "visual"})


def test_a_training_run_is_followed_by_epoch():
    model, anatomy = planted()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Lens(model, anatomy, probes=["abnormal_batchnorm"]) as session:
        for _ in range(2):
            for inputs, labels in batches():
                loss = nn.functional.cross_entropy(model(**inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                session.step(labels)
                optimizer.step()
            session.epoch()
    found = session.dataset()
    assert found["layer"].values.tolist() == ["audio.1", "visual.1", "norm"]
    assert found["modality"].values.tolist() == ["audio", "visual", ""]
    found = found.sel(layer="visual.1", threshold=1e-10)
    # A ReLU's slope at 0 is 0, so a channel with scale and shift 0 gets no gradient at all.
    assert found["abnormal_count"].values.tolist() == [3, 3]
    assert found["abnormal_ratio"].values.tolist() == [0.6, 0.6]
