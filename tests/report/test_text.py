import re

import pytest
import xarray as xr

from imbalance_lens.observer import unasked_probes
from imbalance_lens.report import Verdict

from .planted import abnormal_batchnorm, logit_norm, report, zero_out
from .planted_more import (
    calibration,
    dead_features,
    emap,
    gradient_conflict,
    linear_probe,
    shapley,
)

LONG = tuple(f"{letter}{'_camera' * 8}_{i}" for i, letter in enumerate("abcdef"))


TWO = ("audio", "visual")


def full_report(names=TWO, **more):
    alone = {name: 0.8 if name == names[0] else 0.3 for name in names}
    drop = {name: 0.6 if name == names[0] else 0.1 for name in names}
    layers = {f"{name}_net.bn": (name, 32, 64) for name in names}
    return report(
        names,
        zero_out=zero_out(alone, drop, nonfinite=dict.fromkeys((*names, "+".join(names)), 12_345)),
        logit_norm=logit_norm({name: 10 * value for name, value in alone.items()}),
        abnormal_batchnorm=abnormal_batchnorm(layers),
        readout={"kind": "linear_split", "additivity_gap": 2e-7, "identifiable": {}},
        skipped={"ogr": "it needs a validation loader"},
        notes=["The input 'meta' reaches the logits past " + ", ".join(names) + "."],
        **more,
    )


def test_the_verdict_comes_first_and_everything_is_there():
    text = str(full_report())
    blocks = text.split("\n\n")
    assert blocks[0] == "Report on Net, 500 examples"
    assert blocks[1].startswith("audio dominates: alone it gets 80.0 % of the examples right")
    assert [block.splitlines()[0] for block in blocks[3:]] == [
        "Findings",
        "What may help",
        "Not measured",
        "How it was measured",
    ]
    assert "- ogr: it needs a validation loader" in text
    assert "- ogm_ge: Slow down the encoder of audio" in text
    assert "- Absent modalities: features set to zero." in text
    assert "- Intervals: 95 % intervals from 1,000 bootstrap resamples." in text
    assert "torch 2.11.0" in text
    assert "! The input 'meta'" in text


def test_the_table_shows_the_numbers_of_each_modality():
    lines = str(full_report()).split("\n\n")[2].splitlines()
    rows = {line.split("  ")[0]: re.split(r"\s{2,}", line.strip()) for line in lines[:5]}
    assert lines[0].split("  ")[-1] == "abn."
    assert rows["audio"] == ["audio", "80.0 %", "30.0 %", "60.0", "0.800", "8.00", "50.0 %"]
    assert rows["(together)"] == ["(together)", "90.0 %", "0.900", "9.00"]
    assert rows["(most frequent)"] == ["(most frequent)", "10.0 %"]


def everything(names=TWO):
    """Return a report in which every probe that the table shows has answered."""
    high = {name: 1.0 if name == names[0] else -0.123 for name in names}
    return full_report(
        names,
        shapley=shapley({"correct": high}),
        linear_probe=linear_probe(dict.fromkeys(names, 1.0), high),
        dead_features=dead_features({f"{name}_net.bn": (name, 64, 64) for name in names}),
        calibration=calibration(dict.fromkeys((*names, "joint"), (0.9, 0.2, 500))),
        emap=emap(dict.fromkeys(names, 0.0)),
    )


def test_columns_appear_for_what_was_measured():
    lines = str(everything()).split("\n\n")[2].splitlines()
    titles = ["alone", "without", "drop", "Shapley", "linear", "conf.", "norm", "dead"]
    assert lines[0].split() == titles
    assert re.split(r"\s{2,}", lines[1]) == [
        *("audio", "80.0 %", "30.0 %", "60.0", "100.0", "100.0 %", "0.800", "8.00", "100.0 %")
    ]
    assert re.split(r"\s{2,}", lines[3]) == ["(together)", "90.0 %", "95.0 %", "0.900", "9.00"]


@pytest.mark.parametrize("names", [TWO, LONG[:3], LONG, ("x" * 200, "y")])
@pytest.mark.parametrize("made", [full_report, everything])
def test_it_fits_80_columns(names, made):
    text = str(made(names))
    assert max(map(len, text.splitlines())) <= 80
    assert len(set(text.split("\n\n")[2].splitlines())) >= len(names) + 3


def test_a_long_model_name_is_broken_over_lines():
    assert max(map(len, str(full_report(model="M" * 200)).splitlines())) <= 80


def test_what_several_modalities_need_is_said_once():
    names = ("a", "b", "c")
    own = dict.fromkeys(names, 0.5)
    made = report(names, linear_probe=linear_probe(dict.fromkeys(names, 0.9), own))
    assert [r.modality for r in made.recommendations] == ["a", "b", "c"] * 2
    text = " ".join(str(made).split())
    assert text.count("- mlb: ") == 1
    assert "reads from it. The same for b and c. (Kontras et al., BMVC 2024)" in text


def test_advice_without_a_recipe_names_its_paper_too():
    ds = gradient_conflict({"audio": [0.5, 0.5], "visual": [-0.5, -0.5]})
    text = str(report(gradient_conflict=ds, settings={"training_examples": 0}))
    assert "\n- Combine the gradients of" in text
    assert "(Wei and Hu, ICML 2024)" in " ".join(text.split())


def test_probes_that_must_be_named_stand_apart_from_those_that_could_not_run():
    unasked = unasked_probes()
    assert unasked
    skipped = dict.fromkeys(["zero_out", "emap"], "the loader gives no labels") | unasked
    lines = str(report(skipped=skipped)).split("Not measured\n")[1].split("\n\n")[0]
    text = " ".join(lines.split())
    named = ", ".join(sorted(unasked))
    assert text == (
        "- emap, zero_out: the loader gives no labels - only when named, for their cost: " + named
    )


def test_several_epochs_are_judged_by_their_last_quarter_and_that_is_said():
    early, late = (zero_out({"audio": 0.8, "visual": v}) for v in (0.1, 0.8))
    parts = [ds.expand_dims(epoch=[k]) for k, ds in enumerate([early] * 6 + [late] * 2)]
    ds = xr.concat(parts, "epoch", join="outer", combine_attrs="override")
    made = report(zero_out=ds)
    assert made.findings[0].verdict is Verdict.NO
    assert made.to_dataframe().loc["visual", "alone"] == pytest.approx(0.8)
    assert "- Judged: mean of the last 2 of 8 epochs." in str(made)


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({}, "fitted on 2,400 examples that the model was trained on"),
        ({"protocol": "cross_validation", "fit_examples": 500}, "cross-validated on 500 examples"),
    ],
)
def test_how_linear_classifiers_were_fitted_is_said(attrs, words):
    ds = linear_probe({"audio": 0.9, "visual": 0.9}, {"audio": 0.9, "visual": 0.9})
    text = str(report(linear_probe=ds.assign_attrs(attrs)))
    assert f"Linear classifiers: {words}." in " ".join(text.split())


def test_a_number_and_its_percent_sign_stay_on_one_line():
    for width in range(1, 30):
        text = str(report(("a" * width, "v"), zero_out=zero_out({"a" * width: 0.8, "v": 0.3})))
        assert not re.search(r"\n\s*%", text)
        assert "\N{NO-BREAK SPACE}" not in text


def test_columns_that_nobody_measured_are_left_out():
    text = str(report(logit_norm=logit_norm({"audio": 9.0, "visual": 3.0})))
    assert "norm: mean length of its logits" in text
    assert "alone  " not in text
    assert "(most frequent)" not in text


def test_a_report_without_any_number_says_why():
    text = str(report(skipped={"zero_out": "the loader gives no labels"}))
    assert "Whether a modality dominates was not measured: the loader gives no labels." in text
    assert "(together)" not in text


def test_what_was_not_found_is_said_too():
    text = " ".join(str(report(zero_out=zero_out({"audio": 0.8, "visual": 0.3}))).split())
    assert (
        "- looked for and not found: unreadable modality; unused modality; logits that are not "
        "finite; few examples"
    ) in text


def test_what_was_found_in_some_modalities_only_names_the_others():
    ds = linear_probe({"a": 0.9, "b": 0.9, "c": 0.9}, {"a": 0.9, "b": 0.5, "c": 0.9})
    assert "under-used encoder (a and c)" in str(report(("a", "b", "c"), linear_probe=ds))


@pytest.mark.parametrize(("own", "mark"), [(0.5, "!"), (0.85, "?")])
def test_the_same_of_many_modalities_is_told_of_one(own, mark):
    names = tuple("abcd")
    ds = linear_probe(dict.fromkeys(names, 0.9), dict.fromkeys(names, own))
    made = report(names, linear_probe=ds)
    text = " ".join(str(made).split())
    first = next(f for f in made.findings if f.rule == "underused_encoder")
    assert f"{mark} {first.sentence} The same for b, c and d." in text
    assert text.count("a linear classifier gets") == 1
    assert "a linear classifier gets 90.0 % from its features" in made._repr_html_()


def test_what_is_of_no_modality_is_told_by_itself():
    heads = dict.fromkeys(("a", "b", "c", "joint"), (0.9, 0.5, 1000))
    text = " ".join(str(report(("a", "b", "c"), calibration=calibration(heads))).split())
    assert "! a alone is overconfident" in text
    assert "The same for b and c. ! The model as a whole is overconfident" in text


def test_the_same_of_two_is_told_of_both():
    ds = linear_probe({"audio": 0.9, "visual": 0.9}, {"audio": 0.5, "visual": 0.5})
    assert " ".join(str(report(linear_probe=ds)).split()).count("a linear classifier gets") == 2


def test_what_is_not_clear_has_its_own_mark():
    ds = zero_out({"audio": 0.8, "visual": 0.1}, {"audio": 0.8, "visual": 0.0})
    assert "\n? Whether visual is used is not clear" in str(report(zero_out=ds))


def test_names_that_cannot_be_printed_take_one_line():
    names = ("au\ndio", "vis\x1b[31mual")
    text = str(full_report(names))
    assert "\x1b" not in text
    assert "au\\ndio dominates" in text


def test_a_long_name_keeps_both_of_its_ends():
    names = ("sensor_left_of_the_front_door", "sensor_right_of_the_front_door")
    table = str(full_report(names)).split("\n\n")[2]
    assert "sensor_l...nt_door" in table
    assert "sensor_r...nt_door" in table
