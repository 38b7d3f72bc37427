"""Suggestions say what the report's recommendations say, and what is in the way."""

import torch
from torch import nn

import imbalance_lens as lens
import recipes
from imbalance_lens.models import BilinearFusion, LateFusion, Mlp
from imbalance_lens.testing import planted


def test_recipes_are_suggested_in_the_order_of_the_recommendations():
    model, loader = planted("audio")
    report = lens.diagnose(model, loader, probes=["zero_out", "shapley", "permutation"])

    suggested = recipes.suggest(report)

    wanted = [advice.recipe for advice in report.recommendations if advice.recipe]
    assert [found.recipe for found in suggested] == list(dict.fromkeys(wanted))
    assert suggested[0].modalities == ("audio",)
    assert suggested[0].papers == ("Wei et al., TPAMI 2024",)
    assert not suggested[0].lacks
    assert "needs" in repr(suggested)


def test_a_reason_that_two_findings_give_is_told_once():
    model, loader = planted("audio")
    for found in recipes.suggest(lens.diagnose(model, loader)):
        assert len(set(found.reasons)) == len(found.reasons)


def test_a_head_that_hides_the_modalities_is_told():
    torch.manual_seed(0)
    encoders = {"audio": Mlp(6), "visual": Mlp(4)}
    sizes = {name: encoder.out_features for name, encoder in encoders.items()}
    model = LateFusion(encoders, BilinearFusion(sizes, 3))
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    labels = torch.arange(30) % 3
    batch = {"audio": torch.eye(6)[labels], "visual": torch.randn(30, 4)}, labels
    report = lens.diagnose(model, [batch], probes=["zero_out", "logit_norm"])
    advised = lens.report.recommend.Recommendation("ogm_ge", "audio", "It leads.", "", "A paper")

    class Told(lens.Report):
        recommendations = (advised,)

    (found,) = recipes.suggest(Told(report.tree))
    assert "readout='heads'" in found.lacks[0]


def test_nothing_found_is_said():
    model, loader = planted("audio")
    report = lens.diagnose(model, loader, probes=["abnormal_batchnorm"])
    assert repr(recipes.suggest(report)) == "nothing was found that a recipe is for"
