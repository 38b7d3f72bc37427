"""Showing an anatomy to people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ..errors import AnatomyError
from ..notebook import as_table
from .types import Anatomy

WIDTH = 80
_INDENT = 14

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, repr=False)
class Explanation:
    """An anatomy in words; prints in 80 columns, and as a table in a notebook.

    Attributes:
        sections: title and rows (label, text) of each modality, and of what they share.
    """

    sections: tuple[tuple[str, Rows], ...]

    def __str__(self) -> str:
        """Return plain text, no line longer than 80 characters."""
        return "\n".join(line for title, rows in self.sections for line in _block(title, rows))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_table(*self.sections, words=True)


def explain(anatomy: Anatomy, model: nn.Module | None = None) -> Explanation:
    """Show who is who, and how each line is known.

    Args:
        anatomy: found or given.
        model: the model, to count the parameters that each modality owns. Default: not counted.

    Example:
        >>> print(explain(Anatomy({"audio": "ear", "visual": "eye"}, head="head")))
        audio
          encoder     ear
          sites       ear
          known       given
        visual
          encoder     eye
          sites       eye
          known       given
        together
          head        head (given)
          to overrule Anatomy(encoders={'audio': 'ear', 'visual': 'eye'}, head='head')
    """
    modalities = [(m, tuple(_modality(anatomy, m, model))) for m in anatomy.modalities]
    return Explanation((*modalities, ("together", tuple(_together(anatomy)))))


def _modality(anatomy: Anatomy, name: str, model: nn.Module | None) -> Iterator[tuple[str, str]]:
    encoder, parts = anatomy.encoders[name], anatomy.parts[name]
    yield "encoder", encoder
    yield "sites", _listed(anatomy.sites[name])
    if parts != (encoder,):
        yield "parts", _listed(parts)
    if name in anatomy.inputs:
        yield "inputs", _listed(anatomy.inputs[name])
    if model is not None:
        yield "parameters", _owned(anatomy, name, model)
    if name in anatomy.entangled:
        yield "entangled", anatomy.entangled[name]
    paths = dict.fromkeys((encoder, *anatomy.sites[name]))
    for path in paths if len(paths) > 1 else ():
        yield "known", f"{path}: {_known(anatomy, path)}"
    if len(paths) == 1:
        yield "known", _known(anatomy, encoder)


def _together(anatomy: Anatomy) -> Iterator[tuple[str, str]]:
    if anatomy.head is None:
        yield "head", "none: no single module gives the logits"
    else:
        yield "head", f"{anatomy.head} ({_known(anatomy, anatomy.head)})"
    for label, paths in (("fusion", anatomy.fusion), ("shared", anatomy.shared)):
        for path in paths:
            if path != anatomy.head:
                yield label, f"{path} ({_known(anatomy, path)})"
    for path, text in anatomy.evidence.items():
        if path.startswith("input:") and not any(path in s for s in anatomy.sites.values()):
            yield "input", f"{path.removeprefix('input:')} ({text})"
    yield "to overrule", f"Anatomy(encoders={dict(anatomy.encoders)!r}, head={anatomy.head!r})"


def _owned(anatomy: Anatomy, name: str, model: nn.Module) -> str:
    try:
        count = sum(parameter.numel() for parameter in anatomy.parameters(model, name))
    except AnatomyError as error:
        return f"not known: {error}"
    return f"{count} of its own"


def _known(anatomy: Anatomy, path: str) -> str:
    return anatomy.evidence.get(path, "given")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _block(title: str, rows: Rows) -> Iterator[str]:
    yield from textwrap.wrap(title, WIDTH)
    for label, text in rows:
        first = f"  {label}".ljust(_INDENT)
        yield from textwrap.wrap(
            text,
            WIDTH,
            initial_indent=first,
            subsequent_indent=" " * _INDENT,
            break_on_hyphens=False,
        )
