"""From a loader's batch to a call of the model and its labels."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from .checks import WITH_SPLIT, function
from .errors import BatchError
from .observation import NO_LABELS
from .trees import map_tensors

LABEL_KEYS = ("label", "labels", "target")

Split = Callable[[Any], tuple[Any, Any]]
"""A user's own way to get (inputs, labels) out of a batch; labels may be None."""


def split_batch(batch: Any, split: Split | None = None) -> tuple[Any, Tensor]:
    """Return a batch's inputs and its labels, which have to be class indices.

    Args:
        batch: as `raw_batch` takes it.
        split: likewise.

    Returns:
        The inputs, and the labels (batch,) as int64; labels are empty where there are none.

    Raises:
        BatchError: the batch has no known form, or its labels are not class indices.

    Example:
        >>> split_batch({"audio": torch.ones(2, 3), "label": torch.tensor([0, 1])})[1]
        tensor([0, 1])
    """
    inputs, labels = raw_batch(batch, split)
    return inputs, class_indices(labels)


def raw_batch(batch: Any, split: Split | None = None) -> tuple[Any, Tensor]:
    """Return a batch's inputs and its labels, of whatever kind these are.

    A batch is (inputs, labels), (input, input, ..., labels), or a mapping with the labels under
    "label", "labels" or "target". A mapping without labels, and a lone tensor, are inputs only.

    Args:
        batch: what the loader gave.
        split: a function that returns (inputs, labels) for any other kind of batch.

    Returns:
        The inputs, and the labels (batch, ...): one integer per example as int64, numbers and
        several labels per example as they are; empty where there are none.

    Raises:
        BatchError: the batch has no known form, or its labels are no tensor.
        SettingError: `split` is no function.

    Example:
        >>> raw_batch((torch.ones(2, 3), torch.tensor([0.5, 1.5])))[1]
        tensor([0.5000, 1.5000])
    """
    if split is not None:
        inputs, labels = _pair(split, batch)
    elif isinstance(batch, Mapping):
        inputs, labels = _split_mapping(batch)
    elif isinstance(batch, tuple | list) and batch:
        *inputs, labels = batch if len(batch) > 1 else (*batch, None)
        inputs = inputs[0] if len(inputs) == 1 else tuple(inputs)
    elif isinstance(batch, Tensor):
        inputs, labels = batch, None
    else:
        raise BatchError(
            f"A batch of type {type(batch).__name__} is not known. Give (inputs, labels), a "
            f"mapping with the labels under one of {', '.join(LABEL_KEYS)}, or {WITH_SPLIT}."
        )
    given = NO_LABELS if labels is None else _label_tensor(labels)
    return inputs, given.to(torch.int64) if _are_indices(given) else given


def class_indices(labels: Any) -> Tensor:
    """Return labels as an int64 tensor (batch,).

    Raises:
        BatchError: they are no class indices; the message says how to make them some.
    """
    given = _label_tensor(labels)
    if not _are_indices(given):
        column = given.ndim == 2 and given.shape[1] == 1
        way = "One column: use labels.squeeze(1)" if column else "One-hot: use labels.argmax(1)"
        raise BatchError(
            "Labels must be class indices, an integer tensor (batch,); got "
            f"{str(given.dtype).removeprefix('torch.')} of shape {tuple(given.shape)}. {way}, and "
            "integers. Several labels per example, or numbers to predict, are not supported."
        )
    return given.to(torch.int64)


def _pair(split: Split, batch: Any) -> tuple[Any, Any]:
    function("split", split)
    given = split(batch)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise BatchError(
            f"split=function gave a {type(given).__name__}; it must return (inputs, labels)."
        )
    return given[0], given[1]


def _label_tensor(labels: Any) -> Tensor:
    try:
        return torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BatchError(
            f"Labels of type {type(labels).__name__} cannot be made a tensor ({error}). Give an "
            "integer tensor (batch,), or pass split=function, which returns (inputs, labels)."
        ) from error


def _are_indices(labels: Tensor) -> bool:
    return labels.ndim == 1 and not (labels.is_floating_point() or labels.is_complex())


def check_labels(labels: Tensor, classes: int, batch_size: int) -> None:
    """Complain about labels that do not fit the model's logits.

    Raises:
        BatchError: another number of labels than examples, or a label outside 0..classes-1.
    """
    if len(labels) != batch_size:
        raise BatchError(
            f"The batch has {batch_size} examples and {len(labels)} labels; give one per example."
        )
    if len(labels) and classes == 1:
        raise BatchError(
            "The model gives one logit per example. For two classes, pass "
            "logits=lambda output: torch.cat([0 * output, output], 1)."
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        wrong = int(labels.max()) if int(labels.max()) >= classes else int(labels.min())
        raise BatchError(
            f"Label {wrong} is out of range: the model gives {classes} logits, so labels must lie "
            f"in 0..{classes - 1}. Leave out examples without a class before they get here."
        )


@dataclass(frozen=True)
class Call:
    """One call of a model: its inputs by name, and how they are handed over.

    Attributes:
        inputs: the named inputs, in order; the names are the forward parameters' own, or the keys.
        positional: the names that are passed by position.
        packed: the structure that carries all inputs as one argument, or None.
    """

    inputs: Mapping[str, Any]
    positional: tuple[str, ...] = ()
    packed: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, model: nn.Module, args: tuple, kwargs: Mapping[str, Any]) -> Call:
        """Return the call that was made with these arguments."""
        names = _positional_names(_signature(model), len(args))
        if len(args) == 1 and not kwargs and isinstance(args[0], Mapping | tuple | list):
            return cls(_unpacked(names[0], args[0]), packed=args[0])
        return cls({**dict(zip(names, args, strict=True)), **kwargs}, positional=names)

    def __call__(self, model: nn.Module) -> Any:
        """Return the model's output for copies of these inputs; a forward may write into them."""
        return self.with_inputs(map_tensors(torch.clone, dict(self.inputs))).run(model)

    def run(self, model: nn.Module) -> Any:
        """Return the model's output for these very inputs."""
        args, kwargs = self.arguments()
        return model(*args, **kwargs)

    def arguments(self) -> tuple[tuple, dict[str, Any]]:
        """Return the positional and the keyword arguments of the call."""
        if self.packed is not None:
            return (_repacked(self.packed, self.inputs),), {}
        keywords = {n: value for n, value in self.inputs.items() if n not in self.positional}
        return tuple(self.inputs[name] for name in self.positional), keywords

    def with_inputs(self, changed: Mapping[str, Any]) -> Call:
        """Return the same call with some inputs exchanged."""
        return replace(self, inputs={**self.inputs, **changed})

    def to(self, device: torch.device) -> Call:
        """Return the same call with all tensors on a device."""
        moved = map_tensors(lambda t: t.to(device, non_blocking=True), dict(self.inputs))
        return replace(self, inputs=moved)


def bind(model: nn.Module, inputs: Any) -> Call:
    """Fit inputs to the parameters of a model's forward.

    A mapping gives keyword arguments, a tuple or list positional ones, anything else the one
    argument. Where forward takes a single argument, the mapping or tuple is passed as it is.

    Raises:
        BatchError: the inputs do not fit; the message shows both sides.
    """
    signature = _signature(model)
    if isinstance(inputs, Mapping):
        named = {str(key): value for key, value in inputs.items()}
        if _fits(signature, (), named):
            return Call(named)
        if _fits(signature, (inputs,), {}) and not named.keys() & signature.parameters.keys():
            return Call(_unpacked("", inputs), packed=inputs)
    else:
        args = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        if _fits(signature, args, {}):
            names = _positional_names(signature, len(args))
            return Call(dict(zip(names, args, strict=True)), positional=names)
        if _fits(signature, (inputs,), {}):
            (name,) = _positional_names(signature, 1)
            return Call(_unpacked(name, args), packed=inputs)
    given = (
        f"the keywords {', '.join(map(repr, inputs))}"
        if isinstance(inputs, Mapping)
        else f"{len(inputs) if isinstance(inputs, tuple | list) else 1} positional argument(s)"
    )
    raise BatchError(
        f"{type(model).__name__}.forward{signature} does not take {given}. Let the loader give "
        f"what forward takes, or {WITH_SPLIT}."
    )


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter or buffer; the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _split_mapping(batch: Mapping) -> tuple[Any, Any]:
    found = [key for key in LABEL_KEYS if key in batch]
    if len(found) > 1:
        raise BatchError(
            f"The batch has labels under {' and '.join(map(repr, found))}. Keep one of them, or "
            f"{WITH_SPLIT}."
        )
    if not found:
        return batch, None
    return {key: value for key, value in batch.items() if key != found[0]}, batch[found[0]]


def _signature(model: nn.Module) -> inspect.Signature:
    try:
        return inspect.signature(model.forward)
    except (TypeError, ValueError):  # scripted modules hide theirs
        anything = [
            inspect.Parameter("input", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("inputs", inspect.Parameter.VAR_KEYWORD),
        ]
        return inspect.Signature(anything)


def _fits(signature: inspect.Signature, args: tuple, kwargs: Mapping[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _positional_names(signature: inspect.Signature, count: int) -> tuple[str, ...]:
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}_{i}" for i in range(count - len(names))]
        elif parameter.kind in _BY_POSITION:
            names.append(parameter.name)
    return tuple(names[:count])


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _unpacked(name: str, packed: Any) -> dict[str, Any]:
    """Return the parts of the one argument `name` that carries all inputs, by their names."""
    if isinstance(packed, Mapping):
        return {str(key): value for key, value in packed.items()}
    return {f"{name}_{i}": value for i, value in enumerate(packed)}


def _repacked(packed: Any, inputs: Mapping[str, Any]) -> Any:
    if isinstance(packed, Mapping):
        filled: Any = copy.copy(packed)
        for key in packed:
            filled[key] = inputs[str(key)]
        return filled
    return type(packed)(inputs.values())
