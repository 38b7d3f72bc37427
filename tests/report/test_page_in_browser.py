"""The page of a report in headless Chromium: what somebody sees, presses and prints."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imbalance_lens.cli._drawn import drawn

from .pages import EVIL, large_report
from .test_page_figures import SVG
from .test_text import full_report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs the package playwright, to drive a browser"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path")

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 700}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    full_report().to_html(folder / "plain.html", figures={"A line": SVG})
    hostile = full_report((EVIL, "visual"), model=EVIL)
    hostile.to_html(folder / "hostile.html", figures=drawn(hostile.tree))
    large_report().to_html(folder / "large.html")
    return folder


@pytest.fixture
def show(browser, pages):
    """Open a page; at the end, complain about what went wrong in it or was asked from elsewhere."""
    opened, said, asked = [], [], []

    def shown(name: str, **options: Any) -> Any:
        page = browser.new_page(**{"viewport": DESK, **options})
        opened.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((pages / f"{name}.html").as_uri())
        return page

    yield shown
    for page in opened:
        page.close()
    assert said == []
    assert [url for url in asked if not url.startswith(pages.as_uri())] == []
    assert len(asked) == len(opened)


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")


def color(page: Any, name: str) -> tuple[int, ...]:
    found = page.evaluate(f"getComputedStyle(document.body).{name}")
    return tuple(map(int, re.findall(r"\d+", found)[:3]))


@pytest.mark.parametrize("name", ["plain", "hostile", "large"])
def test_it_opens_without_an_error_and_a_request(show, name):
    assert show(name).locator("h1").inner_text()


def test_a_large_one_is_there_within_a_second(show):
    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    # A busy machine is not a slow page: the best of three.
    times = [show("large").evaluate(timing) for _ in range(3)]
    assert 0 < min(times) < 1000


@pytest.mark.parametrize("size", [DESK, PHONE])
@pytest.mark.parametrize("name", ["plain", "hostile", "large"])
def test_it_is_as_wide_as_the_screen_unfolded_too(show, name, size):
    page = show(name, viewport=size)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_dark_and_light_are_those_of_the_reader(show):
    light, dark = (show("plain", color_scheme=scheme) for scheme in ("light", "dark"))
    assert min(color(light, "backgroundColor")) > 200 > 60 > max(color(light, "color"))
    assert max(color(dark, "backgroundColor")) < 60 < 200 < min(color(dark, "color"))


def first_rows(page: Any) -> list[str]:
    rows = page.locator("table.sortable").first.locator("tbody th")
    return rows.all_inner_texts()


def test_a_table_is_sorted_with_the_keyboard_alone(show):
    page = show("plain")
    before = first_rows(page)
    assert before[:2] == ["audio", "visual"]
    for _ in range(50):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "alone":
            break
    page.keyboard.press("Enter")
    head = page.locator("th[aria-sort]")
    assert head.get_attribute("aria-sort") == "ascending"
    assert first_rows(page) == ["(most frequent)", "visual", "audio", "(together)"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert first_rows(page) == ["(together)", "audio", "visual", "(most frequent)"]


def test_what_is_not_known_stays_at_the_end(show):
    page = show("plain")
    button = page.get_by_role("button", name="without").first
    for _ in range(2):
        button.click()
        assert {*first_rows(page)[2:]} == {"(together)", "(most frequent)"}


def test_names_are_sorted_as_people_count(show):
    page = show("large")
    unfold(page)
    table = page.locator("table.sortable", has=page.locator("caption", has_text="By layer"))
    table.get_by_role("button", name="layer", exact=True).click()
    names = table.locator("tbody th:first-child").all_inner_texts()
    fourier = [int(name.split(".")[4]) for name in names if ".fourier." in name]
    assert fourier == sorted(fourier)
    assert len(names) == 50


def test_a_finding_leads_to_its_numbers_which_unfold(show):
    page = show("plain")
    part = page.locator("details", has=page.locator("summary", has_text="logit_norm"))
    assert part.get_attribute("open") is None
    page.get_by_role("link", name="logit_norm.norm_ratio").click()
    assert part.get_attribute("open") is not None
    assert part.locator("table").first.is_visible()


def test_without_scripts_all_of_it_is_there(show):
    page = show("plain", java_script_enabled=False)
    assert page.locator("button").count() == 0
    part = page.locator("details").first
    part.locator("summary").click()
    assert part.locator("table").first.is_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_printed_all_of_it_is_unfolded(show, tmp_path, scripts):
    page = show("plain", java_script_enabled=scripts)
    page.emulate_media(media="print")
    assert page.locator("details table").first.is_visible()


def test_hostile_names_stand_in_figures_too_as_text(show):
    page = show("hostile")
    assert page.locator("script").count() == 1
    assert page.locator("figure svg").count() > 0
    assert page.locator("figure text", has_text="<script>").count() > 0


def test_every_figure_and_scrolled_part_has_a_name(show):
    page = show("plain")
    assert page.get_by_role("img", name="A line").count() == 1
    unfold(page)
    regions = page.locator("[role=region]")
    assert regions.count() > 3
    assert all(region.get_attribute("aria-label") for region in regions.all())
