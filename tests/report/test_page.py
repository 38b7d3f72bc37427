"""`Report.to_html`: one file with everything, whatever names and numbers are in the report."""

import base64
import hashlib
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from imbalance_lens import schema

from .pages import EVIL, Page, large_report, written
from .planted import abnormal_batchnorm, report
from .test_text import full_report


@pytest.fixture
def html(tmp_path):
    return lambda made, **more: written(made, tmp_path, **more)


def test_findings_come_first_then_numbers_then_what_is_missing_then_how(html):
    page = Page(html(full_report()))
    assert page.of("h2") == [
        "Findings",
        "What may help",
        "In numbers",
        "Not measured",
        "How it was measured",
    ]
    verdict, reasons = full_report().findings[0].sentence.split(": ", 1)
    assert page.of("h1") == [f"{verdict}."]
    assert reasons[1:] in "".join(page.of("p"))
    said = " ".join(page.of("li"))
    assert "ogr: it needs a validation loader" in said
    assert "torch 2.11.0" in said


def test_every_probe_has_its_tables_with_intervals(html):
    page = Page(html(full_report()))
    assert set(page.of("summary") + page.of("code")) >= set(full_report().tree.children)
    rows = [" ".join(" ".join(row).split()) for row in page.rows]
    assert "audio_net.bn audio 32 64" in rows or "audio_net.bn audio 64" in rows
    assert "planted 0.8 0.78 to 0.82 0.3 0.28 to 0.32" in rows
    assert "planted 0.1" in rows


def test_the_findings_lead_to_their_numbers(html):
    page = Page(html(full_report()))
    targets = [value for tag, name, value in page.attrs if (tag, name) == ("a", "href")]
    assert targets
    assert {target[:1] for target in targets} == {"#"}
    assert {target[1:] for target in targets} <= set(page.all("id"))


def test_it_says_who_is_who_and_the_settings(html):
    rows = Page(html(full_report())).rows
    assert ["audio", "audio_net", ""] in rows
    assert ["head", "head", ""] in rows
    zero = next(row for row in rows if row[0] == "zero_out")
    assert zero[1] == "confidence_level: 0.95, fill: zero, resamples: 1000, seed: 0"


@pytest.mark.parametrize(
    "names", [(EVIL, "visual"), ("a&b", '"><img src=x>'), ("{{a}}", "é\u202e")]
)
def test_hostile_names_are_only_text(html, names):
    honest, hostile = Page(html(full_report())), full_report(names, model=names[0])
    page = Page(html(hostile))
    assert set(page.tags) == set(honest.tags)
    assert page.tags.count("script") == 1
    assert {(tag, name) for tag, name, _ in page.attrs} == {
        (tag, name) for tag, name, _ in honest.attrs
    }


def test_hostile_paths_labels_probes_notes_reasons_and_settings_are_only_text(html):
    layers = {f"{EVIL}{place}": (EVIL, 1, 4) for place in range(9)}
    name = EVIL.replace("/", "|")  # which xarray does not take in a name
    ds = abnormal_batchnorm(layers).rename(abnormal_count=name)
    ds[name].attrs["long_name"] = EVIL
    ds.attrs["settings"] = schema.to_json({EVIL: [EVIL, {EVIL: EVIL}]})
    made = report(
        (EVIL, "visual"),
        skipped={EVIL: EVIL},
        notes=[EVIL],
        settings={EVIL: EVIL},
        anatomy={"encoders": {EVIL: EVIL, "visual": "v"}, "evidence": {EVIL: EVIL}},
        **{name: ds},
    )
    text = html(made)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert not [name for _, name, _ in page.attrs if name.startswith("on")]
    assert "&lt;script&gt;" in text
    assert "{{ 7 * 7 }}" in text


def test_it_needs_nothing_else_and_runs_no_script_but_its_own(html):
    text = html(full_report())
    page = Page(text)
    assert "http" not in text.replace("http-equiv", "")
    assert not {"src", "srcset", "style"} & {name for _, name, _ in page.attrs}
    assert not {"link", "iframe", "img", "base", "form"} & set(page.tags)
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]  # pyright: ignore[reportOptionalSubscript]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [value for value in page.all("content") if "default-src" in value]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_tables_have_heads_and_every_row_is_as_wide(html):
    for text in (html(full_report()), html(large_report())):
        for table in re.findall(r"<table.*?</table>", text, re.S):
            widths = {len(row) for row in Page(table).rows}
            assert len(widths) == 1
            assert "<thead>" in table


def test_fifty_layers_three_hundred_classes_and_six_modalities_stay_under_a_megabyte(html):
    made = large_report()
    text = html(made)
    assert 100_000 < len(text.encode()) < 1_000_000
    page = Page(text)
    for layer in made.tree["abnormal_batchnorm"].layer.values:
        assert any(row[0] == layer for row in page.rows)
    assert any("over the 20,000 entries of example" in said for said in page.of("caption"))
    assert ["pixels", "confidence"] in [row[:2] for row in page.rows]


def test_a_sum_over_many_entries_is_that_of_the_numbers(html):
    made = large_report()
    rows = Page(html(made)).rows
    values = made.tree["shapley_like"]["v1"].sel(modality="shape", value="correct")
    shown = [f"{float(part):.4g}" for part in (values.mean(), values.min(), values.max())]
    assert ["shape", "correct", *shown] in rows


def test_numbers_that_are_not_known_are_said_to_be_so(html):
    made = full_report()
    for name in ("alone", "accuracy_interval", "drop"):
        made.tree["zero_out"][name][:] = np.nan
    rows = Page(html(made)).rows
    assert ["planted", "-", "-"] in [row for row in rows if len(row) == 3]
    assert not any("nan" in cell for row in rows for cell in row)


def test_a_long_unknown_series_is_summed_up_without_a_warning(html):
    made = large_report()
    made.tree["shapley_like"]["v1"][:] = np.nan
    assert ["shape", "correct", "-", "-", "-"] in Page(html(made)).rows


def test_more_than_fits_into_a_megabyte_is_summed_up(html):
    layers = {f"{'deep.' * 50}{place}": ("audio", 1, 64) for place in range(5_000)}
    made = report(abnormal_batchnorm=abnormal_batchnorm(layers))
    text = html(made)
    assert len(text.encode()) < 1_000_000
    assert "over the 5,000 entries of layer" in text


def test_a_report_without_numbers_still_says_how_it_was_measured(html):
    page = Page(html(report()))
    assert page.of("h2") == ["Findings", "How it was measured"]


def test_a_report_from_a_file_gives_the_same_page(html, tmp_path):
    from imbalance_lens.report import load_report

    made = full_report()
    made.save(tmp_path / "report.nc")
    assert html(made) == html(made) == html(load_report(tmp_path / "report.nc"))


def test_a_full_disk_leaves_the_old_page(tmp_path):
    full_report().save(tmp_path / "report.nc")
    path = tmp_path / "report.html"
    path.write_text("old")
    code = f"""
        import resource, signal
        from imbalance_lens.report import load_report
        report = load_report({str(tmp_path / "report.nc")!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            report.to_html({str(path)!r})
        except OSError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert "report.html could not be written (File too large)" in done.stdout
    assert path.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"report.nc", "report.html"}
