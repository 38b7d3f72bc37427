"""SVG figures as parts of a page: they change nothing around them and fetch nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from ..errors import SettingError


@dataclass(frozen=True)
class Drawing:
    """A figure, ready to stand in a page.

    Attributes:
        title: what it shows, which is also its text alternative.
        attributes: of the svg element.
        content: of the svg element, as safe HTML.
        broad: whether it is so wide that it needs a row of its own.
    """

    title: str
    attributes: Mapping[str, str]
    content: str
    broad: bool


def drawings(figures: Mapping[str, str]) -> tuple[Drawing, ...]:
    """Return figures so that several of them can stand in one page.

    Args:
        figures: what each shows -> a whole SVG file, as text.

    Raises:
        SettingError: one is no SVG, or holds what does not belong into a figure: a script, an
            element of HTML, or the address of something elsewhere.
    """
    return tuple(
        _drawing(title, svg, f"figure-{place}")
        for place, (title, svg) in enumerate(figures.items())
    )


def _drawing(title: str, svg: str, name: str) -> Drawing:
    try:
        root = ElementTree.fromstring(svg)
    except (ElementTree.ParseError, TypeError) as error:
        raise SettingError(
            f"The figure {title!r} is no SVG ({error}). Give the whole file."
        ) from error
    if _local(root.tag) != "svg":
        raise SettingError(f"The figure {title!r} is <{root.tag}>, no SVG. Give the whole file.")
    for parent in [*root.iter()]:
        for child in [*parent]:
            if _local(child.tag) in _LEFT_OUT:
                parent.remove(child)
    for element in root.iter():
        _settle(element, title, name)
    width, height = (_pixels(root.get(side, "")) for side in ("width", "height"))
    attributes = {"id": name, "viewBox": root.get("viewBox") or f"0 0 {width:g} {height:g}"}
    if "width" in root.attrib:
        attributes["width"] = f"{width:g}"
    content = "".join(ElementTree.tostring(part, encoding="unicode") for part in root)
    return Drawing(title, attributes, content, width > _COLUMN)


_COLUMN = 416
"""So many pixels find room beside another figure."""


def _settle(element: ElementTree.Element, title: str, figure: str) -> None:
    """Drop the namespaces, which HTML knows itself, and keep names and styles to the figure."""
    tag = _local(element.tag)
    if tag not in _ALLOWED:
        raise SettingError(f"The figure {title!r} holds <{tag}>, which only a plain SVG may not.")
    element.tag = tag
    if not (element.text or "").strip():
        element.text = None
    if not (element.tail or "").strip() and tag != "tspan":
        element.tail = None
    given = {_local(name): value for name, value in element.attrib.items()}
    element.attrib.clear()
    for name, value in given.items():
        if name.lower().startswith("on"):
            raise SettingError(f"The figure {title!r} holds the script of {name!r}. Leave it out.")
        if name == "id":
            value = f"{figure}-{value}"
        elif name == "href" and value.startswith("#"):
            value = f"#{figure}-{value[1:]}"
        elif name == "href" and not value.startswith("data:image/"):
            raise _elsewhere(title, value)
        element.set(name, _own(value, title, figure))
    if tag == "style":
        element.text = f"#{figure} {{ {_own(element.text or '', title, figure)} }}"


def _own(text: str, title: str, figure: str) -> str:
    """Return a value or a style with its references prefixed; complain about all others."""
    told = re.sub(r"url\(\s*(['\"]?)#", rf"url(\1#{figure}-", text)
    found = re.search(r"url\((?!['\"]?#)[^)]*\)?|@import[^;]*", told, re.I)
    if found:
        raise _elsewhere(title, found[0])
    return told


def _elsewhere(title: str, address: str) -> SettingError:
    return SettingError(
        f"The figure {title!r} points to {address!r}, but a report must work without a network. "
        "Put what is there into the SVG."
    )


def _local(name: object) -> str:
    """Return a name without its namespace."""
    return str(name).rpartition("}")[2]


def _pixels(size: str) -> float:
    """Return a width or height in pixels; 100 where it says nothing that can be used."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]*)", size)
    return float(found[1]) * _UNITS.get(found[2], 1.0) if found else 100.0


_UNITS = {"pt": 4 / 3, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}

_LEFT_OUT = ("metadata", "title", "desc")
"""What a page has no use for: it says itself what a figure shows."""

_ALLOWED = {
    *("svg", "g", "defs", "style", "symbol", "use", "image", "clipPath", "mask", "marker"),
    *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
    *("text", "tspan", "textPath", "pattern", "linearGradient", "radialGradient", "stop"),
}
