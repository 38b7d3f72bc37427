from html.parser import HTMLParser

import pytest

from .planted import report
from .test_text import full_report

EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Collects the tags and the text, and complains where tags do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert not [a for a, _ in attrs if a.startswith("on") or a in ("src", "href")]
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_it_says_what_the_text_says():
    made = full_report()
    page = Page(made._repr_html_())
    said = " ".join(" ".join(page.text).split())
    assert made.findings[0].sentence in said
    assert "ogm_ge" in said
    assert "it needs a validation loader" in said
    assert page.tags.count("tr") == 5
    assert page.tags.count("table") == 1


@pytest.mark.parametrize("names", [(EVIL, "visual"), ("a&b", '"><img>')])
def test_names_paths_and_reasons_are_escaped(names):
    page = Page(full_report(names, model=EVIL)._repr_html_())
    allowed = {"div", "style", "p", "small", "strong", "table", "thead", "tbody", "tr", "td", "th"}
    assert set(page.tags) <= allowed | {"h4", "ul", "li", "b", "code"}
    assert any(names[0] in part for part in page.text)


def test_notes_and_reasons_are_escaped():
    html = report(skipped={"ogr": EVIL}, notes=[EVIL])._repr_html_()
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 2


def test_it_is_small_and_needs_nothing_else():
    html = full_report()._repr_html_()
    assert len(html) < 10_000
    assert "http" not in html


def test_a_report_without_numbers_has_no_table():
    assert "table" not in Page(report()._repr_html_()).tags
