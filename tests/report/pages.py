"""Pages of reports taken apart, and a report that is large."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from imbalance_lens import schema
from imbalance_lens.report import Report

from .planted import abnormal_batchnorm, report, zero_out

EVIL = "<script>alert('x')</script>\"' onload=alert(1) {{ 7 * 7 }}"
SIX = ("pixels", "fourier", "profile", "karhunen", "zernike", "shape")


class Page(HTMLParser):
    """Collects what is in a page, and complains where its tags do not close in order."""

    VOID = ("meta",)

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.attrs, self.rows = [], [], [], []
        self.said: dict[str, list[str]] = {}
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attrs += [(tag, *attr) for attr in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.setdefault(self.open[-1] if self.open else "", []).append(data)
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data

    def of(self, tag: str) -> list[str]:
        return [" ".join(said.split()) for said in self.said.get(tag, [])]

    def all(self, name: str) -> list[str]:
        return [value for _, found, value in self.attrs if found == name]


def written(made: Report, folder: Path, **more) -> str:
    """Write a page and return it."""
    made.to_html(folder / "report.html", **more)
    return (folder / "report.html").read_text(encoding="utf-8")


def large_report() -> Report:
    """Return a report on 50 layers, 300 classes and 6 modalities, whose names are long."""
    draw = np.random.default_rng(0)
    layers = [f"encoders.backbone.{SIX[i % 6]}.blocks.{i}.normalization" for i in range(50)]
    sizes = {
        "head": [*SIX, schema.JOINT],
        "label": range(300),
        "modality": SIX,
        "other": SIX,
        "example": range(20_000),
        "value": ["confidence", "correct"],
        "coalition": [f"{'+'.join(SIX)}{i}" for i in range(64)],
        "bound": ["low", "high"],
    }

    def group(*shapes):
        dims = {dim for shape in shapes for dim in shape}
        variables = {
            f"v{place}{ends}": schema.variable(
                (*shape, *more),
                draw.normal(size=[len(sizes[d]) for d in (*shape, *more)]),
                units="1",
                long_name="a number of which the name is as long as those of real ones",
                formula="tests",
            )
            for place, shape in enumerate(shapes)
            for ends, more in (("", ()), ("_interval", ("bound",)))
            if not ends or "label" not in shape
        }
        coords = {dim: list(sizes[dim]) for dim in (*dims, "bound")}
        return schema.dataset(variables, coords, settings={})

    return report(
        SIX,
        zero_out=zero_out(dict.fromkeys(SIX, 0.4)),
        logit_norms=group(("head", "label"), ("head", "label"), ("head",)),
        shapley_like=group(("modality", "value", "label"), ("example", "modality", "value")),
        by_coalition=group(("coalition", "label"), ("coalition",), ("modality", "other")),
        abnormal_batchnorm=abnormal_batchnorm({p: (p.split(".")[2], 1, 64) for p in layers}),
    )
