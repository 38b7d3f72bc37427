"""The only place that words common complaints about arguments."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, TypeGuard

from .errors import BatchError, SettingError
from .registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

AT_INPUTS = "score at the inputs with sites={modality: ('input:name',)}"
WITH_SPLIT = "pass split=function, which returns (inputs, labels)"
"""What to do, in the words of every message that says so."""

_LARGEST = 2**63 - 1
"""The largest whole number that a tensor can hold."""


def one_of(name: str, value: object, allowed: Iterable[object]) -> None:
    """Complain unless `value` is one of `allowed`."""
    options = list(allowed)
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise SettingError(f"{name}={value!r} is not known. Choose one of: {listed}.")


def positive(name: str, value: object) -> None:
    """Complain unless `value` is a number above zero."""
    if not (_is_number(value) and value > 0):
        raise SettingError(f"{name} must be above 0; got {value!r}.")


def at_least(name: str, value: object, least: float) -> None:
    """Complain unless `value` is a number that is not below `least`."""
    if not (_is_number(value) and value >= least):
        raise SettingError(f"{name} must be {least} or more; got {value!r}.")


def whole(name: str, value: object, least: int = 1, most: int = _LARGEST) -> None:
    """Complain unless `value` is a whole number from `least` to `most`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        bound = " above 0" if least == 1 else f", {least} or above"
        raise SettingError(f"{name} must be a whole number{bound}; got {value!r}.")
    if int(value) > most:
        raise SettingError(f"{name} must be a whole number, {most:,} at most; got {value!r}.")


def flag(name: str, value: object) -> None:
    """Complain unless `value` is True or False."""
    if not isinstance(value, bool):
        raise SettingError(f"{name} must be True or False; got {value!r}.")


def fraction(name: str, value: object) -> None:
    """Complain unless 0 < value < 1."""
    if not (_is_number(value) and 0 < value < 1):
        raise SettingError(f"{name} must lie between 0 and 1, both excluded; got {value!r}.")


def instance(name: str, value: object, kind: type, known_as: str) -> None:
    """Complain unless `value` is of a kind; of a class, one that is made is meant."""
    _no_class(name, value)
    if not isinstance(value, kind):
        raise SettingError(f"{name} must be a {known_as}; got {value!r}.")


def _no_class(name: str, value: object) -> None:
    if isinstance(value, type):
        raise SettingError(f"{name} is a class, {value.__name__}. Make one: {value.__name__}().")


def function(name: str, value: object) -> None:
    """Complain unless `value` can be called; of a class, one that is made is meant."""
    _no_class(name, value)
    if not callable(value):
        raise SettingError(f"{name} must be a function; got {value!r}.")


def mapping(name: str, value: object) -> None:
    """Complain unless `value` is a mapping."""
    if not isinstance(value, Mapping):
        raise SettingError(f"{name} must be a mapping, as {{modality: ...}}; got {value!r}.")


def file(name: str, value: object) -> None:
    """Complain unless `value` can be the path of a file."""
    if not isinstance(value, str | os.PathLike):
        raise SettingError(f"{name} must be the path of a file; got {value!r}.")


def unique(what: str, name: str, taken: Collection[str]) -> None:
    """Complain about a name that is there already."""
    if name in taken:
        raise SettingError(f"{what} names {name!r} twice. Name it once.")


def modalities(names: Collection[str], reserved: str = "joint") -> None:
    """Complain unless two or more modalities are named, each by a usable name."""
    for name in names:
        if not isinstance(name, str) or not name or "+" in name or name == reserved:
            raise SettingError(
                f"{name!r} cannot name a modality: a name is a text that is not empty, not "
                f"{reserved!r}, and without '+', which joins names. Rename it with "
                "find_anatomy(..., names={old: new}) or in Anatomy(encoders=...)."
            )
    if len(names) < 2:
        given = ", ".join(map(repr, names)) or "none"
        raise SettingError(f"Two or more modalities are needed; got {given}.")


def known_modality(name: str, known: Iterable[str]) -> None:
    """Complain about a modality that the model does not have."""
    names = list(known)
    if name not in names:
        raise unknown("modality", name, names)


def no_strangers(what: str, given: Collection[str], known: Collection[str]) -> None:
    """Complain about names in `given` that are no modalities."""
    strangers = sorted(set(given) - set(known))
    if strangers:
        raise SettingError(
            f"{what} names {', '.join(map(repr, strangers))}, which is no modality here. "
            f"Modalities: {', '.join(map(repr, known))}."
        )


def same_modalities(what: str, given: Mapping[str, object], wanted: Collection[str]) -> None:
    """Complain unless `given` is a mapping keyed by exactly the wanted modalities."""
    mapping(what, given)
    if set(given) != set(wanted):
        raise SettingError(
            f"{what} must have the modalities {sorted(wanted)}; got {sorted(given)}."
        )


def logits_and_labels(logits: Tensor, labels: Tensor) -> None:
    """Complain unless logits are (batch, classes) and labels (batch,)."""
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels):
        raise BatchError(
            "logits must be (batch, classes) and labels (batch,); "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}."
        )


def class_indices(labels: Tensor) -> None:
    """Complain unless labels are whole numbers."""
    if labels.is_floating_point() or labels.is_complex():
        raise BatchError(f"labels must be class indices (integers); got {labels.dtype}.")


def shape(name: str, tensor: Tensor, wanted: str, fits: bool) -> None:
    """Complain unless the tensor's shape fits what is wanted."""
    if not fits:
        raise SettingError(f"{name} must be {wanted}; got {tuple(tensor.shape)}.")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real)
