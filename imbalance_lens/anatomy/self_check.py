"""Whether a replay can be trusted: what is tried before its numbers are used."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..batches import Call
from ..checks import AT_INPUTS
from ..errors import AnatomyError
from ..trees import carries_signal, map_tensors, tensors
from .leaves import batch_size, middle_rows
from .replay import Replay

FEW = 2
"""Examples that the tries are made with: enough to exchange."""


class Remark(NamedTuple):
    """A sentence on a replay, and the modalities that keep some signal when they are left out."""

    sentence: str
    left_in: tuple[str, ...] = ()


def self_check(replay: Replay) -> list[Remark]:
    """Try a replay on a few examples of its batch before it is used.

    Costs a pass of two examples through the model, another one through its encoders, some of
    fusion and head, and two of fusion and head with the whole batch, of which others may take
    another way through the model; with the whole batch all of it, where two examples do not do.

    Returns:
        What could not be tried, and which inputs reach the logits past the sites.

    Raises:
        AnatomyError: its numbers would be wrong; the message says why.
    """
    few, same = _of_few(replay)
    if few is replay:
        check_replay(replay)
    nested = _nested(few)
    if nested:
        return nested
    if _exchanged(few.call, list(few.call.inputs)) is None:
        sentence = (
            "Whether the encoders catch the whole signal could not be tried: the first batch has "
            "no two examples to exchange, or its inputs are no tensors (batch, ...)."
        )
        return [Remark(sentence)]
    if few is replay:
        return _bypasses(replay)
    return _bypasses(few) or _bypasses(replay, same)


def check_replay(replay: Replay) -> None:
    """Complain unless the replay with all modalities present gives the model's own logits.

    Args:
        replay: of the model's own pass.

    Raises:
        AnatomyError: it does not; the model is random, or keeps state.
    """
    if not repeats(replay):
        raise AnatomyError(_RESTLESS)
    if leaves_traces(replay):
        raise AnatomyError(_KEEPING)


def repeats(replay: Replay) -> bool:
    """Say whether fusion and head give the model's own logits again."""
    return _alike(_again(replay), replay.logits_all)


def _again(replay: Replay) -> Tensor:
    return replay.logits_of(replay.rerun(replay.modalities))


def _alike(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors are the same but for rounding."""
    if one.shape != other.shape or not other.numel():
        return one.shape == other.shape
    scale = float(other.nan_to_num(0.0, 0.0, 0.0).abs().max().clamp_min(1.0))
    return torch.allclose(one, other, rtol=_CLOSE, atol=_CLOSE * scale, equal_nan=True)


def leaves_traces(replay: Replay) -> bool:
    """Say whether the replay is another one once the model has run on other examples."""
    other = _exchanged(replay.call, list(replay.call.inputs))
    if other is None:
        return False
    try:
        replay.disturb(other)
    except Exception:  # a model may refuse unsorted lengths, say, with any error of its own
        return False
    return not repeats(replay)


def bypassing_inputs(replay: Replay, same: Tensor | None = None) -> tuple[str, ...]:
    """Return the inputs that reach the logits past every site, by exchanging examples.

    Inputs that are sites themselves are not asked, and a batch of one has nothing to exchange.

    Args:
        replay: of the model's own pass.
        same: its logits with all modalities present, from a replay.
    """
    asked = [name for name in replay.call.inputs if name not in replay.claimed_inputs]
    if not asked:
        return ()
    # Not the model's own logits: fusion may round otherwise where features lie elsewhere in memory.
    same = _again(replay) if same is None else same
    if _leak(asked, replay, same) is False:
        return ()
    return tuple(name for name in asked if _leak([name], replay, same))


_CLOSE = 1e-4
"""Relative to the largest logit, or to 1 where that is smaller."""

_REPEATABLE = f"Make it repeatable, or {AT_INPUTS}."
_RESTLESS = (
    "Replaying the encoders' outputs does not give the model's own logits: in eval mode the model "
    f"is random or keeps state between passes. {_REPEATABLE}"
)
_KEEPING = (
    "The model reads something that an encoder leaves behind besides its output (an attribute, "
    f"say), which a replay cannot put back. {_REPEATABLE}"
)


def _of_few(replay: Replay) -> tuple[Replay, Tensor | None]:
    """Return a replay of few of the examples, and the logits of the whole one, replayed since.

    The whole one itself, and None, where those are not its own any more: the model is random, or
    the few have left something behind, if only how many they are.
    """
    if batch_size(replay.call) <= FEW:
        return replay, None
    some = middle_rows(replay.call, FEW)
    for call in (_exchanged(some, list(some.inputs)), some):
        try:
            few = replay.again(call or some)
            same = _again(replay) if repeats(few) else None
        except Exception:  # the model wants an order or more examples, or not the batch was cut
            continue
        if same is not None and _alike(same, replay.logits_all):
            return few, same
        break
    replay.disturb(replay.call)  # so that the model keeps what it did
    return replay, None


def _leak(names: Collection[str], replay: Replay, same: Tensor) -> bool | None:
    """Say whether exchanged inputs change the logits; None where that cannot be tried."""
    other = _exchanged(replay.call, names)
    if other is None:
        return None
    try:
        output = replay.rerun(replay.modalities, call=other)
    except Exception:  # see leaves_traces
        return None
    return not torch.equal(replay.logits_of(output).nan_to_num(), same.nan_to_num())


def _exchanged(call: Call, names: Collection[str]) -> Call | None:
    """Return the call with the examples of some inputs exchanged; None if nothing can be."""
    batch = batch_size(call)
    moved = False

    def roll(tensor: Tensor) -> Tensor:
        nonlocal moved
        if batch < FEW or not tensor.ndim or len(tensor) != batch or tensor.layout != torch.strided:
            return tensor
        moved = True
        rolled = tensor.roll(1, 0)
        if carries_signal(tensor):
            rolled[0] = tensor[1]  # twice, so that the mean of all is another one, too
        return rolled

    def roll_all(tree: Any) -> Any:
        nonlocal moved
        if isinstance(tree, list) and len(tree) == batch >= FEW:  # one entry per example
            moved = True
            return [*tree[-1:], *tree[:-1]]
        return map_tensors(roll, tree)

    other = call.with_inputs({name: roll_all(call.inputs[name]) for name in names})
    return other if moved else None


def _bypasses(replay: Replay, same: Tensor | None = None) -> list[Remark]:
    says = [name for name in bypassing_inputs(replay, same) if _says_something(replay, name)]
    if not says:
        return []
    named = ", ".join(map(repr, says))
    sites = ", ".join(path for paths in replay.sites.values() for path in paths)
    sentence = (
        f"The input {named} reaches the logits past {sites}, so leaving a modality out does not "
        f"leave out all of its signal. Name later modules in Anatomy(sites=...), or {AT_INPUTS}."
    )
    fed = tuple(name for name in replay.modalities if _first_inputs(replay, name) & {*says})
    return [Remark(sentence, fed or replay.modalities)]


def _nested(replay: Replay) -> list[Remark]:
    """Say which encoders take in what another modality's gives.

    Which those are is tried only if some encoder is another one without all the others.
    """
    modalities = replay.modalities
    alone = (_changed(replay, [each for each in modalities if each != name]) for name in modalities)
    if all(changed == [] for changed in alone):
        return []
    return [
        Remark(
            f"{', '.join(replay.sites[name])} of modality {name!r} takes in what "
            f"{', '.join(replay.sites[absent])} of {absent!r} gives, so leaving {absent!r} out "
            f"leaves its signal in {name!r}. Name encoders of which none feeds another, or "
            f"{AT_INPUTS}.",
            (absent,),
        )
        for absent in modalities
        for name in _changed(replay, [absent]) or []
    ]


def _changed(replay: Replay, absent: Collection[str]) -> list[str] | None:
    """Return the modalities whose signals are others where absent encoders answer zero.

    None where that cannot be tried.
    """
    try:
        found = replay.signals_without(absent)
    except Exception:  # see leaves_traces
        return None
    signals, present = replay.signals, [name for name in replay.modalities if name not in absent]
    return [name for name in present if not all(map(_alike, found[name], signals[name]))]


def _says_something(replay: Replay, name: str) -> bool:
    """Tell features and ids from masks and lengths, which only say what counts."""
    firsts = set().union(*(_first_inputs(replay, each) for each in replay.inputs))
    return name in firsts or any(map(carries_signal, tensors(replay.call.inputs[name])))


def _first_inputs(replay: Replay, modality: str) -> set[str]:
    """Return the input that feeds a modality first, where that is known."""
    return {name.split(".")[0] for name in replay.inputs.get(modality, ())[:1]}
