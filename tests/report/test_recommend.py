import pytest

from .planted import abnormal_batchnorm, report, zero_out

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
