"""Figures in the page of a report: SVG from a caller, which must not reach out of its place."""

import pytest

from imbalance_lens.errors import SettingError

from .pages import Page, written
from .test_text import full_report

SVG = (
    '<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9" width="9pt">'
    "<metadata>http://example.org</metadata><style>* { stroke: red }</style>"
    '<defs><path id="m" d="M 0 0"/></defs><use xlink:href="#m" clip-path="url(#c)"/>'
    "<text>a &lt; b</text></svg>"
)


@pytest.fixture
def html(tmp_path):
    return lambda made, **more: written(made, tmp_path, **more)


def test_figures_stand_in_the_page_with_their_names_kept_apart(html):
    text = html(full_report(), figures={"Zero & out": SVG, "Again": SVG})
    page = Page(text)
    assert page.tags.count("svg") == 2
    assert page.all("role").count("img") == 2
    assert {"Zero & out", "Again"} <= set(page.all("aria-label"))
    assert page.of("figcaption") == ["Zero & out", "Again"]
    assert {"figure-0-m", "figure-1-m"} <= set(page.all("id"))
    assert {"#figure-0-m", "#figure-1-m"} <= set(page.all("href"))
    assert "url(#figure-1-c)" in page.all("clip-path")
    assert "#figure-0 { * { stroke: red } }" in text
    assert "a &lt; b" in text
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("size", "box", "broad"),
    [
        ('viewBox="0 0 4000 30"', "0 0 4000 30", False),
        ('viewBox="0 0 40 30" width="497pt"', "0 0 40 30", True),
        ('width="241.2pt" height="180pt"', "0 0 321.6 240", False),
        ('width="6in" height="96"', "0 0 576 96", True),
        ('width="90%" height="1e9"', "0 0 100 100", False),
        ("", "0 0 100 100", False),
    ],
)
def test_a_broad_figure_has_a_row_of_its_own(html, size, box, broad):
    page = Page(html(full_report(), figures={"Mine": f"<svg {size}/>"}))
    assert page.all("viewbox") == [box]
    assert ("broad" in page.all("class")) is broad


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        ("<script>1</script>", "holds <script>"),
        ("<foreignObject/>", "holds <foreignObject>"),
        ('<path onclick="1"/>', "script of 'onclick'"),
        ('<image href="https://example.org/a.png"/>', "points to 'https://example.org/a.png'"),
        ('<use href="other.svg#a"/>', "points to 'other.svg#a'"),
        ('<path style="fill: url(a.svg#b)"/>', r"points to 'url\(a.svg#b\)'"),
        ("<style>@import 'a.css';</style>", "points to \"@import 'a.css'\""),
        ("<path>", "is no SVG"),
    ],
)
def test_a_figure_that_is_more_than_a_drawing_is_refused(html, tmp_path, inside, told):
    with pytest.raises(SettingError, match=f"The figure 'Mine' .*{told}"):
        html(full_report(), figures={"Mine": f"<svg>{inside}</svg>"})
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("svg", ["", "<html/>", "plain words"])
def test_a_figure_that_is_no_svg_is_refused(html, svg):
    with pytest.raises(SettingError, match=r"no SVG.*Give the whole file"):
        html(full_report(), figures={"Mine": svg})
