import re

import pytest

from .planted import abnormal_batchnorm, logit_norm, report, zero_out

LONG = tuple(f"{letter}{'_camera' * 8}_{i}" for i, letter in enumerate("abcdef"))


def full_report(names=("audio", "visual"), **more):
    alone = {name: 0.8 if name == names[0] else 0.3 for name in names}
    drop = {name: 0.6 if name == names[0] else 0.1 for name in names}
    layers = {f"{name}_net.bn": (name, 32, 64) for name in names}
    return report(
        names,
        zero_out=zero_out(alone, drop, nonfinite=dict.fromkeys(names, 12_345)),
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
    assert "! note: The input 'meta'" in text


def test_the_table_shows_the_numbers_of_each_modality():
    lines = str(full_report()).split("\n\n")[2].splitlines()
    rows = {line.split("  ")[0]: re.split(r"\s{2,}", line.strip()) for line in lines[:5]}
    assert lines[0].split("  ")[-1] == "abnormal"
    assert rows["audio"] == ["audio", "80.0 %", "30.0 %", "60.0", "0.800", "8.00", "50.0 %"]
    assert rows["(together)"] == ["(together)", "90.0 %", "0.900", "9.00"]
    assert rows["(most frequent)"] == ["(most frequent)", "10.0 %"]


@pytest.mark.parametrize("names", [("audio", "visual"), LONG, LONG[:2], ("x" * 200, "y")])
def test_it_fits_80_columns(names):
    text = str(full_report(names, model="M" * 200))
    assert max(map(len, text.splitlines())) <= 80


def test_a_number_and_its_percent_sign_stay_on_one_line():
    for width in range(1, 30):
        text = str(report(("a" * width, "v"), zero_out=zero_out({"a" * width: 0.8, "v": 0.3})))
        assert not re.search(r"\n\s*%", text)
        assert "\N{NO-BREAK SPACE}" not in text


def test_columns_that_nobody_measured_are_left_out():
    text = str(report(logit_norm=logit_norm({"audio": 9.0, "visual": 3.0})))
    assert "logit norm" in text
    assert "alone  " not in text
    assert "(most frequent)" not in text


def test_a_report_without_any_number_says_why():
    text = str(report(skipped={"zero_out": "the loader gives no labels"}))
    assert "Whether a modality dominates was not measured: the loader gives no labels." in text
    assert "(together)" not in text


def test_what_was_not_found_is_said_too():
    text = " ".join(str(report(zero_out=zero_out({"audio": 0.8, "visual": 0.3}))).split())
    assert (
        "- looked for and not found: unreadable modality; unused modality (audio and visual); "
        "logits that are not finite; few examples"
    ) in text


def test_what_is_not_clear_has_its_own_mark():
    ds = zero_out({"audio": 0.8, "visual": 0.1}, {"audio": 0.8, "visual": 0.0})
    assert "\n? unused modality: Whether visual is used is not clear" in str(report(zero_out=ds))


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
