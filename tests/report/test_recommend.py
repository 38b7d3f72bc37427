import pytest

from imbalance_lens.report.recommend import _TABLE

from .planted import abnormal_batchnorm, logit_norm, report, zero_out
from .planted_more import dead_features, discrepancy, gradient_conflict, linear_probe, ogr

DOMINATED = {"audio": 0.8, "visual": 0.3}
DEAD = {"a.bn": ("audio", 0, 64), "v.bn": ("visual", 32, 64)}


def recipes(**kwargs):
    return [r.recipe for r in report(**kwargs).recommendations]


def test_a_dominating_modality_calls_for_modulation():
    made = report(zero_out=zero_out(DOMINATED)).recommendations
    assert [r.recipe for r in made] == ["ogm_ge", "opm", "mlb"]
    assert {r.modality for r in made} == {"audio"}
    assert {r.evidence for r in made} == {"zero_out.alone_gap"}
    assert all("audio, which dominates" in r.reason for r in made)
    assert [r.paper for r in made] == [
        "Wei et al., TPAMI 2024",
        "Wei et al., TPAMI 2024",
        "Kontras et al., BMVC 2024",
    ]


@pytest.mark.parametrize(
    "ds",
    [
        zero_out({"audio": 0.7, "visual": 0.7}),
        zero_out({"audio": 0.7, "visual": 0.63}, width=0.03),
        zero_out(DOMINATED, examples=5),
    ],
    ids=["level", "open", "few"],
)
def test_only_a_yes_recommends(ds):
    assert recipes(zero_out=ds) == []


def test_dead_capacity_in_the_weaker_encoder_calls_for_abri():
    made = report(zero_out=zero_out(DOMINATED), abnormal_batchnorm=abnormal_batchnorm(DEAD))
    assert [r.recipe for r in made.recommendations] == ["ogm_ge", "opm", "mlb", "abri"]
    assert made.recommendations[-1].modality == "visual"
    assert made.recommendations[-1].evidence == "abnormal_batchnorm.abnormal_count"


def test_the_dominating_encoder_is_not_revived():
    dead = {"a.bn": ("audio", 32, 64), "v.bn": ("visual", 0, 64)}
    ds = abnormal_batchnorm(dead)
    assert "abri" not in recipes(zero_out=zero_out(DOMINATED), abnormal_batchnorm=ds)
    assert recipes(abnormal_batchnorm=ds) == ["abri"]


def test_dead_channels_that_belong_to_nobody_call_for_nothing():
    assert recipes(abnormal_batchnorm=abnormal_batchnorm({"head.bn": ("", 8, 8)})) == []


def test_the_first_of_both_reasons_for_a_recipe_is_given():
    made = report(
        linear_probe=linear_probe(dict.fromkeys(DOMINATED, 0.8), DOMINATED),
        settings={"unimodal_accuracy": {"visual": 0.95}},
    ).recommendations
    assert [(r.recipe, r.rule) for r in made] == [
        ("mlb", "undertrained_encoder"),
        ("ogm_ge", "undertrained_encoder"),
        ("fust", "undertrained_encoder"),
    ]


def test_an_under_used_encoder_calls_for_a_loss_of_its_own_or_a_stage():
    ds = linear_probe(dict.fromkeys(DOMINATED, 0.8), DOMINATED)
    made = report(linear_probe=ds).recommendations
    assert [(r.recipe, r.modality, r.paper) for r in made] == [
        ("mlb", "visual", "Kontras et al., BMVC 2024"),
        ("fust", "visual", "Feng et al., 2023"),
    ]
    assert {r.evidence for r in made} == {"linear_probe.gap"}


def test_against_dominance_nothing_is_recommended_twice():
    made = report(
        zero_out=zero_out(DOMINATED),
        linear_probe=linear_probe(dict.fromkeys(DOMINATED, 0.8), DOMINATED),
        discrepancy=discrepancy({"audio": [0.9] * 4, "visual": [0.1] * 4}),
        settings={"unimodal_accuracy": {"visual": 0.95}},
    )
    yes = {f.rule for f in made.findings if f.verdict == "yes"}
    assert yes >= {"dominance", "underused_encoder", "undertrained_encoder", "training_lead"}
    assert [(r.recipe, r.rule) for r in made.recommendations] == [
        ("ogm_ge", "dominance"),
        ("opm", "dominance"),
        ("mlb", "dominance"),
        ("fust", "undertrained_encoder"),  # for the one that lags, in any case
    ]


def test_a_lead_in_training_calls_for_modulation():
    ds = discrepancy({"audio": [0.9] * 4, "visual": [0.1] * 4})
    (made,) = report(discrepancy=ds).recommendations
    assert (made.recipe, made.modality, made.evidence) == ("ogm_ge", "audio", "discrepancy.score")


def test_unequal_logits_call_for_olm():
    (made,) = report(logit_norm=logit_norm({"audio": 9.0, "visual": 3.0})).recommendations
    assert (made.recipe, made.modality, made.paper) == ("olm", "audio", "Zong et al., IJCAI 2024")


def test_an_overfitting_modality_calls_for_blended_losses():
    (made,) = report(ogr=ogr({"audio": (3.5, 1.5), "visual": (0.5, 4.0)})).recommendations
    assert (made.recipe, made.modality, made.paper) == (
        "g_blend",
        "audio",
        "Wang et al., CVPR 2020",
    )
    assert made.evidence == "ogr.total_ogr"


def test_conflicting_gradients_get_advice():
    ds = gradient_conflict({"audio": [0.5, 0.5], "visual": [-0.5, -0.5]})
    (made,) = report(gradient_conflict=ds, settings={"training_examples": 0}).recommendations
    assert (made.recipe, made.modality, made.paper) == ("", "visual", "Wei and Hu, ICML 2024")


def test_what_data_show_to_be_dead_calls_for_abri_too():
    (made,) = report(dead_features=dead_features({"v": ("visual", 30, 64)})).recommendations
    assert (made.recipe, made.evidence) == ("abri", "dead_features.dead_count")


def test_every_recipe_that_is_recommended_has_its_paper():
    assert all(advice.paper for advice in _TABLE if advice.recipe)


@pytest.mark.parametrize(("fill", "offered"), [("zero", True), ("mean", False)])
def test_an_unreadable_modality_gets_advice(fill, offered):
    (advice,) = report(
        zero_out=zero_out(DOMINATED, spread={"visual": 0.0}, fill=fill)
    ).recommendations
    assert (advice.recipe, advice.modality) == ("", "visual")
    assert ("ZeroOut(fill='mean')" in advice.reason) is offered
    assert "heads=" in advice.reason


def test_an_unused_modality_gets_advice():
    ds = zero_out(DOMINATED, spread={"visual": 0.0}, effect={"visual": 0.0})
    advice = report(zero_out=ds).recommendations[-1]
    assert (advice.recipe, advice.modality) == ("", "visual")
    assert "visual, which is ignored" in advice.reason


def test_a_name_with_braces_is_only_a_name():
    names = ("{modality}", "{0}")
    ds = zero_out({"{modality}": 0.8, "{0}": 0.3})
    reasons = [r.reason for r in report(names, zero_out=ds).recommendations]
    assert all("{modality}, which dominates" in reason for reason in reasons)
