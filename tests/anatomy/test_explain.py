"""An explanation tells people who is who, in 80 columns and as a table."""

import pytest

from imbalance_lens.anatomy.explain import WIDTH, explain
from imbalance_lens.anatomy.find import find_anatomy
from imbalance_lens.anatomy.types import Anatomy

from .zoo import FOUND, by_name, specimen_named


def explained(name: str):
    specimen = specimen_named(name)
    model = specimen.build()
    return explain(find_anatomy(model, specimen.inputs(4)), model)


@by_name(FOUND)
def test_no_line_is_wider_than_a_terminal(specimen):
    model = specimen.build()
    lines = str(explain(find_anatomy(model, specimen.inputs(4)), model)).splitlines()

    assert max(map(len, lines)) <= WIDTH == 80


def test_every_modality_has_its_block():
    assert str(explained("late_concat")).startswith(
        "audio\n"
        "  encoder     audio_net\n"
        "  sites       audio_net\n"
        "  inputs      audio\n"
        "  parameters  197 of its own\n"
        "  known       found: its output depends on 'audio' alone (data flow)\n"
        "visual\n"
    )


def test_it_ends_with_what_can_be_written_instead():
    ending = str(explained("late_concat")).splitlines()[-3:]

    assert ending == [
        "  head        head (found: its output is the model's)",
        "  to overrule Anatomy(encoders={'audio': 'audio_net', 'visual': 'visual_net'},",
        "              head='head')",
    ]


def test_entanglement_sharing_and_lone_inputs_are_told():
    assert "entangled   carries 'audio' alone in 3 of 4" in str(explained("mmtm"))
    assert "shared      trunk (found: called for 'left', 'right' in turn)" in str(
        explained("shared_trunk")
    )
    assert "input       index (of no modality: reaches no output)" in str(explained("unused_input"))


def test_parameters_that_cannot_be_told_apart_are_not_counted():
    assert "parameters  not known: 'encoder[0]' is no module" in str(explained("two_outputs"))


def test_a_given_anatomy_is_said_to_be_given():
    shown = str(explain(Anatomy({"audio": "ear", "visual": "eye"})))

    assert shown.count("given") == 2
    assert "found" not in shown
    assert "none: no single module gives the logits" in shown


@pytest.mark.parametrize("name", ["<b>audio</b>", "a & b"])
def test_names_are_escaped_in_html(name):
    shown = explain(Anatomy({name: "ear", "visual": "eye"}))._repr_html_()

    assert '<table class="words">' in shown
    assert name not in shown
    assert ("&lt;b&gt;" in shown) or ("a &amp; b" in shown)


def test_repr_is_what_is_printed():
    shown = explained("late_concat")

    assert repr(shown) == str(shown)
