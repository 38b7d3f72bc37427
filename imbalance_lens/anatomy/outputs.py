"""Which part of a model's output is the logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .. import checks
from ..errors import BatchError
from ..trees import carries_signal, tensors

LogitsOf = Callable[[Any], Tensor]
"""Gives the logits (batch, classes) out of what a model returns."""

_ADVICE = "Pass logits=function, which picks the logits (batch, classes) out of the output."


def find_logits(output: Any, modalities: Iterable[str], without: Callable[[str], Any]) -> LogitsOf:
    """Return how to get the logits out of a model's output.

    The output is a tensor, or a mapping or dataclass with "logits", or it has one part of shape
    (batch, classes), or one such part that more modalities reach than any other (a model that
    returns its features or unimodal logits too).

    Args:
        output: what the model returned.
        modalities: their names.
        without: returns what the model returns when one of them is absent.

    Raises:
        BatchError: no part, or several, could be the logits.
    """
    named = _named_logits(output)
    if named is not None:
        return named
    parts = tensors(output)
    rows = [i for i, part in enumerate(parts) if carries_signal(part) and part.ndim]
    if len(rows) > 1:
        rows = _distinct(rows, parts)
    if len(rows) > 1:
        rows = _reached_by_most(rows, parts, map(without, modalities))
    flat = [i for i in rows if parts[i].ndim == 2]
    if len(flat) != 1 or len(rows) != 1:
        shapes = ", ".join(str(tuple(part.shape)) for part in parts) or "no tensor"
        raise BatchError(
            f"The model's output ({type(output).__name__} of {shapes}) has "
            f"{len(flat) or 'no'} part(s) that could be logits (batch, classes). {_ADVICE}"
        )
    index = flat[0]
    return lambda output: tensors(output)[index]


def checked_logits(logits_of: LogitsOf) -> LogitsOf:
    """Return the user's function, complaining when it gives anything but logits.

    Raises:
        SettingError: it is no function.
        BatchError: from the returned function: not a floating-point tensor (batch, classes).
    """
    checks.function("logits", logits_of)

    def checked(output: Any) -> Tensor:
        logits = logits_of(output)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or not carries_signal(logits):
            given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise BatchError(
                f"logits=function gave {given}; it must give a floating-point tensor "
                "(batch, classes)."
            )
        return logits

    return checked


def _named_logits(output: Any) -> LogitsOf | None:
    if isinstance(output, Mapping) and "logits" in output:
        return checked_logits(lambda output: output["logits"])
    if isinstance(output, tuple) and "logits" in getattr(output, "_fields", ()):
        return checked_logits(lambda output: output.logits)
    if dataclasses.is_dataclass(output) and "logits" in {
        field.name for field in dataclasses.fields(output)
    }:
        return checked_logits(lambda output: output.logits)
    return None


def _distinct(indices: list[int], parts: list[Tensor]) -> list[int]:
    kept: list[int] = []
    for index in indices:
        if not any(torch.equal(parts[index], parts[other]) for other in kept):
            kept.append(index)
    return kept


def _reached_by_most(indices: list[int], whole: list[Tensor], others: Iterable[Any]) -> list[int]:
    reached = dict.fromkeys(indices, 0)
    for parts in map(tensors, others):
        for index in indices:
            reached[index] += not torch.equal(parts[index], whole[index])
    return [index for index in indices if reached[index] == max(reached.values())]
