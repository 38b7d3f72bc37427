"""Encoders once per batch, fusion and head once per set of modalities."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, Protocol

from torch import Tensor, nn

from .. import checks
from ..batches import Call
from ..errors import NotAttachedError
from ..hooks.activations import by_example
from ..hooks.frozen import Buffers
from ..hooks.recurrent import differentiable
from ..observation import BN_STATS, Activation
from ..trees import carries_signal, map_tensors
from .answers import Answers, StandIn
from .copies import Copies
from .fills import FILLS, Fill
from .outputs import LogitsOf, find_logits
from .recording import answered, recorded
from .sites import Recorded, Recording, Site, Target, Wiring
from .types import Anatomy


class Stage(Protocol):
    """What a replay asks of the replayer that made it."""

    model: nn.Module
    anatomy: Anatomy
    wiring: Wiring
    is_open: bool

    def at(self, start: Buffers | None) -> AbstractContextManager[None]:
        """Run the block from other buffers."""
        ...

    def capture(self, call: Call, *, graph: bool = False) -> Replay:
        """Run the model once and keep what its sites gave."""
        ...

    def listen(
        self, call: Call, start: Buffers | None = None, *, batch_statistics: bool = False
    ) -> Mapping[str, Activation]:
        """Run the model once and return what its activation functions gave."""
        ...


class Replay:
    """One batch's encoder outputs, captured once; the model is asked with any of them absent.

    Made by `Replayer.capture`; usable while that replayer is open.

    Attributes:
        logits_all: (batch, classes), the model's own.
        call: the inputs of the batch.
        examples: size of the batch.
        recorded: what its sites gave.
        output: what the model returned.
        logits_of: gives the logits out of such an output.
    """

    def __init__(
        self,
        replayer: Stage,
        call: Call,
        copies: Copies,
        recorded: Recording,
        output: Any,
        logits_of: LogitsOf | None,
        start: Buffers | None = None,
        heard: Mapping[str, Activation] | None = None,
    ) -> None:
        self._replayer = replayer
        self.call = call
        self._copies = copies
        self._start = start
        self.recorded = recorded
        wiring = replayer.wiring
        self._answers = Answers(replayer.anatomy.modalities, wiring, call, recorded)
        self._from_zero: dict[int, Any] = {}
        self.examples = 0  # not known before the logits are; only zeros are filled in till then
        self.output = self.rerun(self.modalities) if output is None else output
        self.logits_of = logits_of or find_logits(self.output, self.modalities, self._without)
        self.logits_all = self.logits_of(self.output)
        self.examples = len(self.logits_all)
        self._known: dict[tuple[frozenset[str], str, int], Tensor] = {}
        self._heard = {} if heard is None else {"running": heard}

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the anatomy's order."""
        return self._replayer.anatomy.modalities

    @property
    def sites(self) -> Mapping[str, tuple[str, ...]]:
        """Where each modality's signal is read, as the anatomy writes it."""
        return self._replayer.anatomy.sites

    @property
    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the inputs that feed each modality, where that is known."""
        return self._replayer.anatomy.inputs

    @property
    def claimed_inputs(self) -> set[str]:
        """The inputs of the model that are sites themselves."""
        return {site.input for sites in self._replayer.wiring.inputs.values() for site in sites}

    @property
    def signals(self) -> dict[str, tuple[Tensor, ...]]:
        """Each modality's features, all floating-point tensors of all its sites, in order."""
        return self._answers.signals()

    @property
    def features(self) -> dict[str, Tensor]:
        """Each modality's features, (batch, ...): the first of its signals."""
        return {modality: parts[0] for modality, parts in self.signals.items()}

    def activations(self, bn_stats: str = "running") -> dict[str, Activation]:
        """Return what the activation functions gave, by place.

        Args:
            bn_stats: one of `BN_STATS`.

        Raises:
            SettingError: an unknown `bn_stats`.
            NotApplicableError: the batch has no statistics.
        """
        checks.one_of("bn_stats", bn_stats, BN_STATS)
        if bn_stats not in self._heard:
            with self.recorded.autocast():
                self._heard[bn_stats] = self._replayer.listen(
                    self.call, self._start, batch_statistics=bn_stats == "batch"
                )
        heard = self._heard[bn_stats].items()
        return {place: by_example(activation, self.examples) for place, activation in heard}

    def logits(self, present: Collection[str], fill: str = "zero", draw: int = 0) -> Tensor:
        """Return the logits (batch, classes) when only some modalities are present.

        Args:
            present: the modalities whose features stay as they are.
            fill: what the others' features become: "zero"; "mean" over the batch; "permute",
                another example's; "shift", those of the example `draw` places on; "input", what
                the encoder answers to a zero input.
            draw: which permutation, or how far to shift.

        Raises:
            UnknownNameError: a modality that the anatomy does not have.
            SettingError: an unknown fill.
        """
        checks.one_of("fill", fill, FILLS)
        for modality in present:
            checks.known_modality(modality, self.modalities)
        key = (frozenset(present), fill, draw)
        if len(key[0]) == len(self.modalities):
            return self.logits_all
        if key not in self._known:
            self._known[key] = self.logits_of(self.rerun(*key))
        return self._known[key]

    def rerun(
        self,
        present: Collection[str],
        fill: str = "zero",
        draw: int = 0,
        call: Call | None = None,
    ) -> Any:
        """Return the model's whole output with the absent modalities' features filled.

        Args:
            present: the modalities that stay.
            fill: as in `logits`.
            draw: as in `logits`.
            call: other inputs for whatever the encoders do not see; default: the batch's own.

        Raises:
            NotAttachedError: the replayer is closed.
        """
        filled = Fill(fill, draw, self.examples, self.modalities, self._from_zero)

        def stand_in(modality: str, site: Site, tree: Any, made: Recorded | None) -> Any:
            return tree if modality in present else filled(modality, site, tree, made)

        try:
            return self._run(stand_in, call)
        except Exception as error:
            absent = [repr(name) for name in self.modalities if name not in present]
            error.add_note(
                f"(while {type(self._replayer.model).__name__} ran on recorded features, with "
                f"{' and '.join(absent) or 'nothing'} absent, fill={fill!r})"
            )
            raise

    def fuse(self, signals: Mapping[str, Sequence[Tensor]]) -> Tensor:
        """Return the logits for other features; differentiable where gradients are enabled.

        Args:
            signals: modality -> tensors in the order of `signals`, the first dimension may be
                another batch where the model allows it. Modalities left out keep their own.

        Raises:
            NotAttachedError: the replayer is closed.
        """
        given = {modality: iter(parts) for modality, parts in signals.items()}

        def stand_in(modality: str, site: Site, tree: Any, made: Recorded | None) -> Any:  # noqa: ARG001
            if modality not in given:
                return tree
            return map_tensors(
                lambda t: next(given[modality]).clone() if carries_signal(t) else t, tree
            )

        return self.logits_of(self._run(stand_in))

    def parameters(self, modality: str) -> Iterator[nn.Parameter]:
        """Yield the parameters that only this modality's encoder owns."""
        return self._replayer.anatomy.parameters(self._replayer.model, modality)

    def with_graph(self) -> Replay:
        """Return the replay of the same inputs with the graph from parameters to logits."""
        return self._replayer.capture(self.call, graph=True)

    def again(self, call: Call) -> Replay:
        """Return the replay of other inputs."""
        return self._replayer.capture(call)

    def signals_without(self, absent: Collection[str]) -> dict[str, tuple[Tensor, ...]]:
        """Return what `signals` are if encoders run again while those of some answer zero."""
        claims = self._replayer.wiring.claims
        zero = Fill("zero", 0, self.examples, self.modalities, self._from_zero)
        calls: dict[Target, list[Recorded]] = {target: [] for target in self.recorded.calls}
        with self._replayer.at(self._start), ExitStack() as stack:
            for target, made in calls.items():
                if all(claim.modality in absent for claim in claims[target]):
                    made += self.recorded.calls[target]
                    answers = (self._answers.of(target, call, zero) for call in range(len(made)))
                    stack.enter_context(answered(target, partial(next, answers)))
                else:
                    stack.enter_context(recorded(target, made))
            stack.enter_context(self.recorded.autocast())
            self.call(self._replayer.model)
        again = self.recorded._replace(calls=calls)
        return dataclasses.replace(self._answers, recorded=again).signals()

    def disturb(self, call: Call) -> None:
        """Run the whole model on other inputs, as somebody else might between two replays."""
        call(self._replayer.model)

    def _without(self, modality: str) -> Any:
        return self.rerun([name for name in self.modalities if name != modality])

    def _run(self, stand_in: StandIn, call: Call | None = None) -> Any:
        if not self._replayer.is_open:
            raise NotAttachedError(
                "The replay is over: the model may have changed since. Ask while the replayer is "
                "open; a probe asks in observe."
            )
        copies = self._copies if call is None else Copies(call.inputs, again=False)
        lent = (call or self.call).with_inputs(copies.lend())
        given = self._answers.with_inputs(lent, stand_in)

        def answer(target: Target, index: int) -> Any:
            return self._answers.of(target, index, stand_in)

        with (
            differentiable(self._replayer.model),
            self._replayer.at(self._start),
            self._replayer.wiring.answering(answer, self.recorded),
        ):
            return given.run(self._replayer.model)
