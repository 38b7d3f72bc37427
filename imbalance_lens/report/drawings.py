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
    """

    title: str
    attributes: Mapping[str, str]
    content: str


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
    box = root.get("viewBox") or f"0 0 {_plain(root, 'width')} {_plain(root, 'height')}"
    content = "".join(ElementTree.tostring(part, encoding="unicode") for part in root)
    attributes = {"id": name, "viewBox": box, "width": root.get("width", "100%")}
    return Drawing(title, attributes, content)


def _settle(element: ElementTree.Element, title: str, figure: str) -> None:
    """Drop the namespaces, which HTML knows itself, and keep names and styles to the figure."""
    tag = _local(element.tag)
    if tag not in _ALLOWED:
        raise SettingError(f"The figure {title!r} holds <{tag}>, which only a plain SVG may not.")
    element.tag, element.tail = tag, None if not (element.tail or "").strip() else element.tail
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


def _plain(root: ElementTree.Element, name: str) -> str:
    found = re.match(r"[\d.]+", root.get(name, ""))
    return found[0] if found else "100"


_LEFT_OUT = ("metadata", "title", "desc")
"""What a page has no use for: it says itself what a figure shows."""

_ALLOWED = {
    *("svg", "g", "defs", "style", "symbol", "use", "image", "clipPath", "mask", "marker"),
    *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
    *("text", "tspan", "textPath", "pattern", "linearGradient", "radialGradient", "stop"),
}
