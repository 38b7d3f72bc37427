"""Listening to activation functions: how far up and down each one went, and what it was given."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

from torch import Tensor, nn
from torch._C import _pop_torch_function_stack, _push_on_torch_function_stack
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode

from ..errors import NotApplicableError
from ..observation import Activation
from ._producers import Made, Producers, name_of

_RECTIFIERS = {"relu": "relu", "relu_": "relu", "relu6": "relu6"}
_SMOOTH = {
    **{name: name for name in ("gelu", "silu", "mish", "softplus", "prelu", "hardswish")},
    **{
        name + inplace: name
        for name in ("leaky_relu", "elu", "selu", "celu", "rrelu")
        for inplace in ("", "_")
    },
}
_NAMES_OF_SMOOTH = frozenset(_SMOOTH.values())
_MADE = (Tensor, tuple)


@contextmanager
def activations(
    model: nn.Module | Producers,
    examples: int,
    *,
    peaks_only: Collection[str] = (),
    batch_statistics: bool = False,
    whole: str | None = None,
) -> Iterator[Mapping[str, Activation]]:
    """Collect what every activation function gives inside the block, in the order of the calls.

    Modules and functions are seen alike and once: `nn.ReLU`, `F.relu`, `torch.relu`, `x.relu_()`.
    Of an output only the ends of each example's map are kept, taken before anything can write
    over it, and of one place, where that is wanted, a copy. What runs inside scripted modules and
    inside `nn.RNN` cannot be seen.

    Args:
        model: the model that runs in the block, eagerly; for many passes, its `Producers`.
        examples: size of the batch, which tells (batch, tokens, channels) from
            (tokens, batch, channels).
        peaks_only: places whose lower ends nobody needs.
        batch_statistics: let the BatchNorm layers use the statistics of the batch, and not touch
            their own.
        whole: the place whose maps are kept too, with or without the function.

    Yields:
        Place -> activation, once the block has ended: the module whose output went in, or the
        module inside which that was made and by what, then the function, as in
        "layer1.0.bn1 > relu" and "layer1.0 (sum) > relu"; "trunk.bn#1 > relu" is the second one
        at that place.

    Raises:
        NotApplicableError: from the model's call, where a batch has no statistics.
    """
    producers = model if isinstance(model, Producers) else Producers(model)
    listener = _Listener(producers, examples, peaks_only, batch_statistics, whole)
    heard: dict[str, Activation] = {}
    with producers.following(listener), listener:
        yield heard
    heard.update(listener.told())


def by_example(activation: Activation, examples: int) -> Activation:
    """Join the rows of each example, where a batch was folded into more rows than it has examples.

    As (batch x frames, ...), in which the rows of an example follow each other.
    """
    rows = activation.highest.shape[0]
    if rows == examples or not examples or rows % examples:
        return activation
    fold = (examples, rows // examples)
    lowest, maps = activation.lowest, activation.maps
    return replace(
        activation,
        highest=activation.highest.unflatten(0, fold).amax(1),
        lowest=None if lowest is None else lowest.unflatten(0, fold).amin(1),
        maps=None if maps is None else maps.unflatten(0, fold).movedim(1, 2),
    )


_Taken = tuple[Tensor, Tensor | None, str, Made, Tensor | None]
"""Upper and lower ends, function, what went in, and the maps."""


class _Listener(TorchFunctionMode):
    """Sees every call of a function of PyTorch from Python.

    A mode, since functions cannot be seen by hooks; it is off while a function runs, so that
    `nn.ReLU`, `nn.functional.relu` and `torch.relu` inside each other count once.
    """

    def __init__(
        self,
        producers: Producers,
        examples: int,
        peaks_only: Collection[str],
        batch_statistics: bool,
        whole: str | None,
    ) -> None:
        super().__init__()
        self._taken: dict[str, _Taken] = {}
        self._producers = producers
        self._examples = examples
        self._peaks_only = peaks_only
        self.for_batchnorm = batch_statistics
        self._whole = whole
        self._calls: dict[str, int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.for_batchnorm and func is nn.functional.batch_norm:
            args, kwargs = _with_batch_statistics(args, kwargs)
        output = func(*args, **kwargs)
        if not isinstance(output, _MADE):
            return output
        activation = _activation(name_of(func), kwargs)
        if activation and isinstance(output, Tensor):
            # Before `note`, which takes the output of a function in place for what went in.
            given = args[0] if args else kwargs.get("input")
            made = self._producers.of(given) or self._producers.of_outsider()
            self.take(activation, made, output)
        self._producers.note(func, args, kwargs, output)
        return output

    def pause(self) -> bool:
        """Hear nothing until `resume`; False where nothing is heard now, as within a function."""
        try:
            mode = _pop_torch_function_stack()
        except RuntimeError:
            return False
        if mode is self:
            return True
        _push_on_torch_function_stack(mode)  # somebody else's, which came later
        return False

    def resume(self) -> None:
        """Hear again."""
        _push_on_torch_function_stack(self)

    def told(self) -> Iterator[tuple[str, Activation]]:
        """Return what was taken, by place."""
        for name, (highest, lowest, function, made, maps) in self._taken.items():
            yield (
                name,
                Activation(
                    highest=highest,
                    lowest=lowest,
                    function=function,
                    rectifies=function not in _NAMES_OF_SMOOTH,
                    producer=made.path,
                    kind=made.kind,
                    modality=self._producers.owner(made.path),
                    maps=maps,
                ),
            )

    def take(self, function: str, made: Made, output: Tensor) -> None:
        """Take the ends of what an activation function gave for what was made so."""
        # As little as can be: between the layers, whose weights have filled the processor's
        # cache, Python is several times slower than afterwards.
        dimensions, channels = output.ndim, made.channels
        features = output.is_floating_point() and dimensions > 1
        if not features or is_functorch_wrapped_tensor(output):
            return
        # (tokens, batch, channels), as recurrent nets and transformers have it
        sequence = dimensions == 3 and channels == 2
        turned = sequence and output.shape[0] != self._examples == output.shape[1]
        kept, positions = _split(dimensions, channels, turned)
        values = output.detach() if output.requires_grad else output
        name = self._name(made.place, function)
        # Two reductions: a single pass for both ends is several times slower on a CPU.
        highest = values.amax(positions) if positions else values.clone()
        lowest = highest if not positions else None
        if positions and name not in self._peaks_only:
            lowest = values.amin(positions)
        wanted = self._whole is not None and _is_at(self._whole, name, function)
        maps = values.movedim(kept, (0, 1)).clone() if wanted else None
        self._taken[name] = highest, lowest, function, made, maps

    def _name(self, place: str, function: str) -> str:
        before = self._calls.get(place, 0)
        self._calls[place] = before + 1
        return f"{place}#{before} > {function}" if before else f"{place} > {function}"


@cache
def _split(
    dimensions: int, channels: int, second_first: bool
) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Return the dimensions of examples and channels, and those of the positions."""
    kept = (1 if second_first else 0, channels)
    return kept, tuple(dim for dim in range(dimensions) if dim not in kept)


def _is_at(wanted: str, name: str, function: str) -> bool:
    return wanted in (name, name.removesuffix(f" > {function}"))


def _activation(name: str, kwargs: Mapping[str, Any]) -> str | None:
    if name == "hardtanh" and kwargs.get("min_val") == 0:
        return "relu6" if kwargs.get("max_val") == 6 else name
    return _RECTIFIERS.get(name) or _SMOOTH.get(name)


def _with_batch_statistics(args: tuple, kwargs: Mapping[str, Any]) -> tuple[tuple, dict[str, Any]]:
    x, *_ = args
    if x.numel() == x.shape[1]:
        raise NotApplicableError(
            "a batch with one value per channel has no statistics; give larger batches, and leave "
            "out the last one if it is smaller"
        )
    return (x, None, None), {**kwargs, "training": True}
