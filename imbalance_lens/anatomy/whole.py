"""Where the whole signal of a modality passes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..batches import Call
from ..trees import carries_signal, tensors
from .groups import Groups
from .leaves import batch_size, leaves, mapped
from .replay import Replay
from .replayer import Replayer
from .select import Part, Selection
from .self_check import bypassing_inputs, leaves_traces, repeats
from .trace import Trace, places
from .types import Anatomy


class Where(IntEnum):
    """Sites of a modality, from the best ones to those that nothing passes by."""

    ENCODER = 0
    PARTS = 1
    INPUTS = 2


@dataclass(frozen=True)
class Sites:
    """The sites of all modalities.

    Attributes:
        paths: modality -> as an anatomy writes them.
        where: modality -> which kind they are.
        passing: inputs that reach the output past them: masks, lengths, or a signal that no site
            could catch.
        routed: modalities of which it depends on values what the model calls.
    """

    paths: dict[str, tuple[str, ...]]
    where: dict[str, Where]
    passing: frozenset[str]
    routed: frozenset[str]


class SiteFinder:
    """Chooses for each modality the sites nearest to its encoder that nothing passes by.

    Whether the signal passes by is read off the flow, and then tried: the sites answer what they
    answered, the inputs are exchanged between the examples, and the output must stay as it is.
    Where the model calls one module or another by value (a mixture of experts), a replay without
    the modality would call others than were recorded, so only its inputs will do.

    Args:
        model: unwrapped.
        call: its inputs.
        trace: of that call.
        selection: who is who.
        groups: the inputs, sorted.
        sometimes: modules that are called for some examples and not for others.
    """

    def __init__(
        self,
        model: nn.Module,
        call: Call,
        trace: Trace,
        selection: Selection,
        groups: Groups,
        sometimes: Collection[str] = (),
    ) -> None:
        self._sometimes = sometimes
        self._model, self._call, self._trace = model, call, trace
        self._selection, self._groups = selection, groups
        joint = [
            place
            for place, depends in trace.output.depends.items()
            if len({groups.modality_of[n] for n in depends if n in groups.modality_of}) > 1
        ]
        self._places = joint or list(trace.output.values)

    def find(self) -> Sites:
        """Return the sites; one pass, and one or more of fusion and head."""
        entangled = self._selection.entangled
        where = {
            m: Where.INPUTS if m in entangled and self._input_names(m) else Where.ENCODER
            for m in self._groups.members
        }
        routed: set[str] = set()
        while True:
            passing = self._passing_in_flow(where)
            stuck = {m for m, w in where.items() if any(map(self._is_routed, self._parts(m, w)))}
            if not (passing or stuck):
                passing, stuck = self._tried(where)
            routed |= stuck
            worse = self._one_worse(where, {*passing, *chain(*map(self._signals, stuck))})
            if worse == where:
                paths = {m: self._paths(m, w) for m, w in where.items()}
                return Sites(paths, where, passing, frozenset(routed))
            where = worse

    def _is_routed(self, part: Part) -> bool:
        inside = f"{part.module}."
        return any(path == part.module or path.startswith(inside) for path in self._sometimes)

    def _one_worse(self, where: Mapping[str, Where], passing: Iterable[str]) -> dict[str, Where]:
        worse = dict(where)
        for modality in self._groups.members:
            if any(name in passing for name in self._signals(modality)):
                last = Where.INPUTS if self._input_names(modality) else Where.PARTS
                worse[modality] = Where(min(where[modality] + 1, last))
        return worse

    def _signals(self, modality: str) -> list[str]:
        """Return the inputs that say something; a mask only says what counts."""
        first, *rest = self._groups.members[modality]
        held = leaves(self._call)
        return [first, *(name for name in rest if any(map(carries_signal, held[name])))]

    def _input_names(self, modality: str) -> tuple[str, ...]:
        """Return the sites at the inputs; none if they are part of an input that others share."""
        names, held = self._groups.members[modality], leaves(self._call)
        if any(map(carries_signal, held[names[0]])):  # else its mask must be exchanged with it
            names = self._signals(modality)
        tops = {top_input(self._call, name) for name in names}
        whole = all(
            self._groups.modality_of.get(leaf) == modality
            for leaf in held
            if top_input(self._call, leaf) in tops
        )
        return tuple(f"input:{name}" for name in self._call.inputs if name in tops) if whole else ()

    def _parts(self, modality: str, where: Where) -> list[Part]:
        if where is Where.INPUTS:
            return []
        everything = self._selection.parts[modality]
        if where is Where.PARTS:
            pieces = [piece for part in everything for piece in part.pieces or (part,)]
            return self._last(pieces)
        encoder = self._selection.largest(modality)
        return self._last(encoder.pieces) if encoder.pieces else [encoder]

    def _paths(self, modality: str, where: Where) -> tuple[str, ...]:
        if where is Where.INPUTS:
            return self._input_names(modality)
        return tuple(part.site for part in self._parts(modality, where))

    def _last(self, parts: Iterable[Part]) -> list[Part]:
        """Return those whose signal reaches the output without another one of them in between."""
        parts = list(parts)
        reached = self._reached({value: part.site for part in parts for value in part.values})
        return [part for part in parts if part.site in reached] or parts

    def _reached(self, sources: Mapping[int, str]) -> frozenset[str]:
        tags = self._trace.flow.tags(sources)
        values = [v for place in self._places for v in self._trace.output.values[place]]
        return frozenset().union(*(tags[value] for value in values))

    def _passing_in_flow(self, where: Mapping[str, Where]) -> frozenset[str]:
        caught = {
            value: ""
            for m, w in where.items()
            for part in self._parts(m, w)
            for value in part.values
        }
        at_input = {
            name for m, w in where.items() if w is Where.INPUTS for name in self._groups.members[m]
        }
        passing = self._reached({**self._trace.sources, **caught}) - at_input - {""}
        signals = {name for m in self._groups.members for name in self._signals(m)}
        return passing if passing & signals else frozenset()

    def _tried(self, where: Mapping[str, Where]) -> tuple[frozenset[str], set[str]]:
        """Return what passes by in a trial, and the modalities that cannot be left out in one."""
        paths = {m: self._paths(m, w) for m, w in where.items()}
        anatomy = Anatomy({m: held[0] for m, held in paths.items()}, sites=paths)
        copied = mapped(lambda _, tensor: tensor.detach().clone(), self._call)
        with Replayer(self._model, anatomy, logits_of=self._answer) as replayer:
            replay = replayer.capture(copied)
            try:
                if not repeats(replay):
                    return frozenset(), set()  # a random model shows nothing
            except Exception:  # nor does one that refuses
                return frozenset(), set()
            stuck: set[str] = set()
            if not _can_lack(replay, replay.modalities):
                asked = [m for m, w in where.items() if w < Where.INPUTS]
                stuck = {m for m in asked if not _can_lack(replay, [m])}
            tops = tuple(self._call.inputs) if leaves_traces(replay) else bypassing_inputs(replay)
        passing = frozenset(n for n in leaves(self._call) if top_input(self._call, n) in tops)
        return passing, stuck

    def _answer(self, output: Any) -> Tensor:
        """Return the output as one row per example, whatever it is."""
        found = places(output)
        held = tensors([found[place] for place in self._places])
        row = torch.cat([tensor.detach().flatten().double() for tensor in held])
        return row.expand(batch_size(self._call), -1)


def _can_lack(replay: Replay, absent: Collection[str]) -> bool:
    try:
        replay.rerun([name for name in replay.modalities if name not in absent])
    except Exception:  # the model calls other modules, or gives them other shapes
        return False
    return True


def top_input(call: Call, leaf: str) -> str:
    """Return the input of the call that a leaf is part of."""
    return next(name for name in call.inputs if f"{leaf}.".startswith(f"{name}."))
