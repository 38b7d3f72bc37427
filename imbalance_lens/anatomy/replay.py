"""Encoders once per batch, fusion and head once per set of modalities."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from .. import checks
from ..batches import Call
from ..errors import AnatomyError, NotApplicableError, NotAttachedError
from ..hooks.frozen import Buffers, frozen
from ..hooks.wrappers import unwrap
from ..trees import carries_signal, map_tensors, tensors
from .fills import FILLS, filled, from_zero_input
from .outputs import LogitsOf, find_logits
from .sites import Claim, Recording, Target, Wiring, check_recorded, item_of, with_item
from .types import Anatomy


class Replay:
    """One batch's encoder outputs, captured once; the model is asked with any of them absent.

    Made by `Replayer.capture`; usable while that replayer is open.

    Attributes:
        logits_all: (batch, classes), the model's own.
        call: the inputs of the batch.
        examples: size of the batch.
        output: what the model returned.
        logits_of: gives the logits out of such an output.
    """

    def __init__(
        self,
        stage: Replayer,
        call: Call,
        recorded: Recording,
        output: Any,
        logits_of: LogitsOf | None,
        start: Buffers | None = None,
    ) -> None:
        self._stage = stage
        self.call = call
        self._start = start
        self._recorded = recorded
        self._from_zero: dict[tuple[Target, int], Any] = {}
        self.output = self.rerun(self.modalities) if output is None else output
        self.examples = 0  # not known before the logits are; only zeros are filled in till then
        self.logits_of = logits_of or find_logits(self)
        self.logits_all = self.logits_of(self.output)
        self.examples = len(self.logits_all)
        self._known: dict[tuple[frozenset[str], str], Tensor] = {}

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the anatomy's order."""
        return self._stage.anatomy.modalities

    @property
    def claimed_inputs(self) -> set[str]:
        """The inputs of the model that are sites themselves."""
        return {name for names in self._stage.wiring.inputs.values() for name in names}

    @property
    def features(self) -> dict[str, Tensor]:
        """Each modality's features, (batch, ...)."""
        found = {}
        for target, claims in self._stage.wiring.claims.items():
            for modality, site in claims:
                call = site.call or 0
                parts = tensors(item_of(self._recorded.calls[target][call].output, site))
                found[modality] = next(filter(carries_signal, parts))
        for modality, names in self._stage.wiring.inputs.items():
            found[modality] = tensors([self.call.inputs[name] for name in names])[0]
        return {modality: found[modality] for modality in self.modalities}

    def logits(self, present: Collection[str], fill: str = "zero") -> Tensor:
        """Return the logits (batch, classes) when only some modalities are present.

        Args:
            present: the modalities whose features stay as they are.
            fill: what the others' features become: "zero"; "mean" over the batch; "permute",
                another example's; "input", what the encoder answers to a zero input.

        Raises:
            UnknownNameError: a modality that the anatomy does not have.
            SettingError: an unknown fill.
        """
        checks.one_of("fill", fill, FILLS)
        for modality in present:
            checks.known_modality(modality, self.modalities)
        key = (frozenset(present), fill)
        if len(key[0]) == len(self.modalities):
            return self.logits_all
        if key not in self._known:
            self._known[key] = self.logits_of(self.rerun(key[0], fill))
        return self._known[key]

    def rerun(self, present: Collection[str], fill: str = "zero", call: Call | None = None) -> Any:
        """Return the model's whole output with the absent modalities' features filled.

        Args:
            present: the modalities that stay.
            fill: as in `logits`.
            call: other inputs for whatever the encoders do not see; default: the batch's own.

        Raises:
            NotAttachedError: the replayer is closed.
        """
        if not self._stage.is_open:
            raise NotAttachedError(
                "The replay is over: the model may have changed since. Ask while the replayer is "
                "open; a probe asks in observe."
            )
        absent = [modality for modality in self.modalities if modality not in present]
        call = self._with_filled_inputs(call or self.call, absent, fill)

        def answer(target: Target, index: int) -> Any:
            return self._answer(target, index, absent, fill)

        with self._stage.at(self._start), self._stage.wiring.answering(answer, self._recorded):
            return call(self._stage.model)

    def _answer(self, target: Target, index: int, absent: Collection[str], fill: str) -> Any:
        claims = self._stage.wiring.claims[target]
        tree = map_tensors(torch.clone, self._recorded.calls[target][index].output)
        for claim in claims:
            if claim.modality in absent and claim.covers(index):
                tree = with_item(tree, claim.site, self._fill(target, index, claim, fill))
        return tree

    def _fill(self, target: Target, index: int, claim: Claim, fill: str) -> Any:
        made = self._recorded.calls[target][index]
        if fill == "input":
            key = (target, index)
            if key not in self._from_zero:
                self._from_zero[key] = from_zero_input(made)
            return map_tensors(torch.clone, item_of(self._from_zero[key], claim.site))
        return self._filled(fill, item_of(made.output, claim.site), claim.modality)

    def _filled(self, fill: str, tree: Any, modality: str) -> Any:
        seed = self.modalities.index(modality)
        return filled(fill, tree, batch=self.examples, modality=modality, seed=seed)

    def _with_filled_inputs(self, call: Call, absent: Collection[str], fill: str) -> Call:
        changed = {}
        for modality, names in self._stage.wiring.inputs.items():
            for name in names if modality in absent else ():
                value = call.inputs[name]
                if fill != "permute" and not all(map(carries_signal, tensors(value))):
                    raise NotApplicableError(
                        f"The input {name!r} of {modality!r} holds integers, for which "
                        f"fill={fill!r} is not defined. Use fill='permute', or name an encoder "
                        "whose output can be replaced."
                    )
                changed[name] = self._filled("zero" if fill == "input" else fill, value, modality)
        return call.with_inputs(changed)


class Replayer:
    """Captures batches of one model; the model is frozen while this is open.

    Args:
        model: any model, also wrapped in DDP, DataParallel or torch.compile; its own forward runs
            unwrapped and eagerly.
        anatomy: where the modalities' signals are read and replaced.
        logits_of: gives the logits (batch, classes) out of the model's output. Default: the
            output itself, its "logits", or the one part that all modalities reach.

    Raises:
        AnatomyError: a path of the anatomy leads nowhere.

    Example:
        >>> from imbalance_lens.batches import bind
        >>> class Late(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b, self.head = nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(6, 4)
        ...     def forward(self, a, b):
        ...         return self.head(torch.cat([self.a(a), self.b(b)], 1))
        >>> model = Late()
        >>> with Replayer(model, Anatomy({"a": "a", "b": "b"})) as replayer:
        ...     replay = replayer.capture(bind(model, (torch.ones(5, 2), torch.ones(5, 2))))
        ...     replay.logits({"a"}).shape
        torch.Size([5, 4])
    """

    def __init__(
        self, model: nn.Module, anatomy: Anatomy, *, logits_of: LogitsOf | None = None
    ) -> None:
        self.model = unwrap(model)
        self.anatomy = anatomy
        self.wiring = Wiring(self.model, anatomy)
        self._logits_of = logits_of
        self._restless: bool | None = None  # changes its buffers in eval mode; None: not known yet
        self.is_open = False
        self._frozen = ExitStack()

    def __enter__(self) -> Self:
        self._frozen.enter_context(frozen(self.model))
        self.is_open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.is_open = False
        self._frozen.close()

    def capture(self, call: Call) -> Replay:
        """Run the model once and keep what its sites gave.

        Raises:
            AnatomyError: a site was not reached or holds no features; or, at the first batch, the
                replay of all modalities does not give the model's own output.
            BatchError: the output holds no logits (batch, classes), or more than one.
        """
        for name in (name for names in self.wiring.inputs.values() for name in names):
            if name not in call.inputs:
                known = ", ".join(map(repr, call.inputs))
                raise AnatomyError(f"The model gets no input {name!r}; it gets {known}.")
        start = Buffers(self.model) if self._restless is not False else None
        with self.wiring.recording() as recorded:
            output = call(self.model)
        if self._restless is None and start is not None:
            self._restless = start.moved()
        return self.replay(call, recorded, output, start if self._restless else None)

    def replay(
        self, call: Call, recorded: Recording, output: Any = None, start: Buffers | None = None
    ) -> Replay:
        """Return the replay of a pass that ran elsewhere, under `wiring.recording`.

        Args:
            call: the inputs of that pass.
            recorded: what its sites gave.
            output: what the model gave. Default: fusion and head run once more, in eval mode.
            start: the buffers before that pass, for a model that changes them in eval mode.
        """
        check_recorded(recorded, self.wiring.claims)
        replay = Replay(self, call, recorded, output, self._logits_of, start)
        if self._logits_of is None:
            self._logits_of = replay.logits_of
        return replay

    @contextmanager
    def at(self, start: Buffers | None) -> Iterator[None]:
        """Run the block from other buffers, and come back to those of now."""
        if start is None:
            yield
            return
        now = Buffers(self.model)
        start.restore()
        try:
            yield
        finally:
            now.restore()
