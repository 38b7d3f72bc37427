"""Dead capacity, by the parameters and on the data."""

import pytest

from imbalance_lens.report import Verdict

from .planted import abnormal_batchnorm, report
from .planted_more import batchnorm_channels, dead_features

TWO = ("audio", "visual")


def found(names=TWO, **given):
    return {f.modality: f for f in report(names, **given).findings if f.rule == "dead_capacity"}


def test_dead_channels_are_counted_per_encoder():
    ds = abnormal_batchnorm(
        {
            "audio_net.bn1": ("audio", 0, 64),
            "visual_net.bn1": ("visual", 2, 64),
            "visual_net.bn2": ("visual", 10, 576),
            "head.bn": ("", 8, 8),
        }
    )
    by_name = found(abnormal_batchnorm=ds)
    verdicts = {name: f.verdict for name, f in by_name.items()}
    assert verdicts == {"audio": "no", "visual": "yes", "": "yes"}
    assert by_name["visual"].value == pytest.approx(12 / 640)
    assert by_name["visual"].sentence == (
        "12 of 640 BatchNorm channels in the encoder of visual (1.9 %) are abnormal: scale and "
        "shift are below 1e-10. The threshold is 1.0 %."
    )
    assert "8 of 8 BatchNorm channels outside of the encoders" in by_name[""].sentence


@pytest.mark.parametrize(
    ("criterion", "words"),
    [("gamma", "the scale is below 1e-10."), ("relative", "1e-10 times the layer's median.")],
)
def test_the_criterion_is_said(criterion, words):
    ds = abnormal_batchnorm({"bn": ("audio", 5, 10)}, criterion=criterion)
    assert words in found(abnormal_batchnorm=ds)["audio"].sentence


def test_exactly_the_threshold_is_still_fine():
    ds = abnormal_batchnorm({"bn": ("audio", 1, 100)})
    assert found(abnormal_batchnorm=ds)["audio"].verdict is Verdict.NO
    ds = dead_features({"bn": ("audio", 25, 100)})
    assert found(dead_features=ds)["audio"].verdict is Verdict.NO


def test_channels_that_are_dead_on_the_data_are_counted_per_encoder():
    ds = dead_features(
        {"a.bn": ("audio", 3, 64), "v.bn1": ("visual", 0, 16), "v.bn2": ("visual", 20, 48)}
    )
    judged = found(dead_features=ds)
    assert {name: f.verdict for name, f in judged.items()} == {"audio": "no", "visual": "yes"}
    assert judged["visual"].value == pytest.approx(20 / 64)
    assert judged["visual"].evidence == "dead_features.dead_count"
    assert judged["visual"].threshold == 0.25
    assert judged["visual"].sentence == (
        "20 of 64 channels in the encoder of visual (31.2 %) are dead on the data: 0 behind the "
        "activation function in 99 % of the examples or more. The threshold is 25.0 %."
    )


def test_few_examples_make_channels_look_dead_but_none_alive():
    judged = found(
        dead_features=dead_features({"a": ("audio", 9, 10), "v": ("visual", 1, 10)}, examples=99)
    )
    assert (judged["audio"].verdict, judged["visual"].verdict) == ("inconclusive", "no")
    assert judged["audio"].sentence.endswith(" But 99 examples cannot tell dead from rarely used.")


def test_nan_makes_no_channel_look_alive():
    layers = {"a": ("audio", 1, 10), "v": ("visual", 9, 10)}
    judged = found(dead_features=dead_features(layers, nan="a"))
    assert (judged["audio"].verdict, judged["visual"].verdict) == ("inconclusive", "yes")
    assert judged["audio"].sentence.endswith(" Not judged, for NaN: 1 channel.")
    judged = found(dead_features=dead_features(layers, nan="v"))
    assert (judged["audio"].verdict, judged["visual"].verdict) == ("no", "yes")


def test_what_both_probes_say_is_one_finding_that_names_both():
    dead = dead_features({"a.bn": ("audio", 0, 40), "v.bn": ("visual", 20, 40)})
    abnormal = batchnorm_channels(
        {"a.bn": ("audio", [], 40), "v.bn": ("visual", [0, 1, 2, 39], 40)}
    )
    judged = found(dead_features=dead, abnormal_batchnorm=abnormal)
    assert list(judged) == ["audio", "visual"]
    assert judged["visual"].verdict is Verdict.YES
    assert judged["visual"].evidence == "dead_features.dead_count"
    assert judged["visual"].sentence == (
        "20 of 40 channels in the encoder of visual (50.0 %) are dead on the data: 0 behind the "
        "activation function in 99 % of the examples or more. The threshold is 25.0 %. 4 of 40 "
        "BatchNorm channels in the encoder of visual (10.0 %) are abnormal: scale and shift are "
        "below 1e-10. The threshold is 1.0 %. Dead or constant on the data: 3 of the 4 abnormal "
        "ones that an activation function follows; dead besides: 17."
    )
    assert judged["audio"].verdict is Verdict.NO
    assert "that an activation function follows" not in judged["audio"].sentence


def test_abnormal_channels_that_are_dead_are_found_where_few_are_dead():
    dead = dead_features({"v.bn": ("visual", 2, 40)})
    abnormal = batchnorm_channels({"v.bn": ("visual", [0, 1], 40)})
    judged = found(dead_features=dead, abnormal_batchnorm=abnormal)["visual"]
    assert (judged.verdict, judged.evidence) == ("yes", "abnormal_batchnorm.abnormal_count")
    assert judged.value == pytest.approx(0.05)


def test_abnormal_channels_that_are_alive_on_the_data_are_inconclusive():
    dead = dead_features({"v.bn": ("visual", 1, 40)})
    abnormal = batchnorm_channels({"v.bn": ("visual", [0, 30, 31], 40)})
    judged = found(dead_features=dead, abnormal_batchnorm=abnormal)["visual"]
    assert (judged.verdict, judged.evidence) == (
        "inconclusive",
        "abnormal_batchnorm.abnormal_count",
    )
    assert "Dead or constant on the data: 1 of the 3 abnormal ones" in judged.sentence


def test_abnormal_channels_that_hardly_vary_say_as_little_as_dead_ones():
    dead = dead_features({"v.bn": ("visual", 1, 40)}, flat=[30])
    abnormal = batchnorm_channels({"v.bn": ("visual", [0, 30, 31], 40)})
    judged = found(dead_features=dead, abnormal_batchnorm=abnormal)["visual"]
    assert judged.verdict is Verdict.YES
    assert "2 of the 3 abnormal ones" in judged.sentence


def test_parameters_alone_are_judged_alone():
    judged = found(abnormal_batchnorm=batchnorm_channels({"v.bn": ("visual", [0, 1], 40)}))
    assert judged["visual"].verdict is Verdict.YES
    assert "on the data" not in judged["visual"].sentence


def test_a_layer_that_few_examples_reached_leaves_its_encoder_open():
    ds = dead_features({"v1": ("visual", 0, 10), "v2": ("visual", 9, 10)})
    ds["examples"][1] = 5
    judged = found(dead_features=ds)["visual"]
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "5 examples cannot tell" in judged.sentence


def test_abnormal_channels_that_no_activation_follows_count_by_themselves():
    dead = dead_features({"v.conv": ("visual", 0, 40)})
    abnormal = batchnorm_channels({"v.bn": ("visual", [0, 1], 40)})
    judged = found(dead_features=dead, abnormal_batchnorm=abnormal)["visual"]
    assert judged.verdict is Verdict.YES
    assert "that an activation function follows" not in judged.sentence


@pytest.mark.parametrize("names", [("a", "b", "c"), tuple("abcdef")])
def test_every_encoder_has_its_own_finding(names):
    dead = dead_features({f"{n}.bn": (n, 30 * (n == "c"), 40) for n in names})
    abnormal = batchnorm_channels({f"{n}.bn": (n, [0] * (n == "a"), 40) for n in names})
    judged = found(names, dead_features=dead, abnormal_batchnorm=abnormal)
    assert list(judged) == list(names)
    assert [name for name, f in judged.items() if f.verdict != "no"] == ["a", "c"]


def test_a_channel_that_died_late_is_dead():
    import xarray as xr

    early, late = (dead_features({"v": ("visual", count, 40)}) for count in (0, 30))
    parts = [ds.expand_dims(epoch=[k]) for k, ds in enumerate([early] * 5 + [late])]
    ds = xr.concat(parts, "epoch", join="outer", combine_attrs="override")
    assert found(dead_features=ds)["visual"].verdict is Verdict.YES


def test_the_summary_has_both_shares():
    table = report(
        dead_features=dead_features({"v": ("visual", 10, 40)}),
        abnormal_batchnorm=abnormal_batchnorm({"v": ("visual", 1, 4)}),
    ).to_dataframe()
    assert table.loc["visual", ["dead", "abnormal"]].tolist() == [0.25, 0.25]
    assert table.loc["audio", ["dead", "abnormal"]].isna().all()
