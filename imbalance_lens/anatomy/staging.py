"""A training pass whose features are seen, and changed, between encoders and fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..batches import Call
from ..errors import NotApplicableError
from ..hooks.checkpointing import runs_checkpointed
from ..hooks.patches import patched
from ..hooks.precision import ambient_autocast
from ..trees import carries_signal, map_tensors, tensors
from .sites import Recorded, Recording, Target, Wiring, item_of, other_calls, with_item

Edit = Callable[[str, Tensor], Tensor]
"""Gets a modality and one tensor of its features, in the graph; gives what takes its place."""

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]


class _EncodersDoneError(BaseException):
    """Leaves a forward after its last encoder; no `except Exception` of a user's stops it."""


class TrainingPass:
    """What one training pass of a model has shown.

    Attributes:
        call: the model's inputs.
        recorded: what every site gave, in the graph and before any edit.
        output: what the model returned; None until it has.
    """

    def __init__(self, call: Call, targets: Mapping[Target, Any]) -> None:
        self.call = call
        self.recorded = Recording({target: [] for target in targets}, ambient_autocast())
        self.output: Any = None


class Staging:
    """Lets training passes of a model be seen and changed at its modalities' sites.

    Passes in eval mode or without gradients run as if nothing was attached. The model is handed
    copies of the features, so that what it writes into them in place stays out of the record.

    Args:
        model: the unwrapped model.
        wiring: of the anatomy in this model.
        calls: how often each target is called in one forward.
        between: called once per pass when all encoders have run and before fusion runs; then the
            forward is run in two stages. None: edits are made as soon as an encoder has run.
        edit: makes the edits. None: there are none.
        compiled: compiles a function; given the encoders' own.
    """

    def __init__(
        self,
        model: nn.Module,
        wiring: Wiring,
        calls: Mapping[Target, int],
        *,
        edit: Edit | None = None,
        between: Callable[[TrainingPass], None] | None = None,
        compiled: Compile | None = None,
    ) -> None:
        self._model = model
        self._wiring = wiring
        self._calls = calls
        self._edit = edit
        self._between = between
        self._compiled = compiled
        self._now: TrainingPass | None = None
        self._asked: dict[Target, int] | None = None
        self.last: TrainingPass | None = None

    @contextmanager
    def attached(self) -> Iterator[None]:
        """See every training pass inside the block."""
        with ExitStack() as stack:
            if self._compiled is not None:
                for _, owner, method in self._wiring.claims:
                    function = self._compiled(getattr(owner, method))
                    stack.enter_context(patched(owner, method, function))
            forward = partial(self._forward, self._model.forward)
            stack.enter_context(patched(self._model, "forward", forward))
            yield
        self.last = None

    def signals(self, seen: TrainingPass) -> dict[str, tuple[Tensor, ...]]:
        """Return each modality's features, all floating-point tensors of all its sites."""
        found: dict[str, list[Tensor]] = {}
        for modality, sites in self._wiring.inputs.items():
            for site in sites:
                found.setdefault(modality, []).extend(_signals(seen.call.inputs[site.input]))
        for target, calls in seen.recorded.calls.items():
            for index, made in enumerate(calls):
                for claim in self._wiring.claims[target]:
                    if claim.covers(index):
                        part = item_of(made.output, claim.site)
                        found.setdefault(claim.modality, []).extend(_signals(part))
        return {modality: tuple(parts) for modality, parts in found.items()}

    def _forward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not (self._model.training and torch.is_grad_enabled()):
            return original(*args, **kwargs)
        seen = TrainingPass(Call.of(self._model, args, kwargs), self._wiring.claims)
        self._now, self._asked = seen, None
        try:
            with self._at_targets():
                if self._between is not None:
                    self._run_encoders(original, args, kwargs)
                    self._between(seen)
                    self._asked = dict.fromkeys(self._wiring.claims, 0)
                args, kwargs = self._with_edited_inputs(args, kwargs)
                seen.output = original(*args, **kwargs)
        finally:
            self._now, self._asked = None, None
        self.last = seen
        return seen.output

    @contextmanager
    def _at_targets(self) -> Iterator[None]:
        # Before whoever else listens in this pass, who so hears each encoder once and unedited.
        with ExitStack() as stack:
            for target in self._wiring.claims:
                function = getattr(target.owner, target.method)
                answer = partial(self._at_target, target, function)
                stack.enter_context(patched(target.owner, target.method, answer))
            yield

    def _run_encoders(self, original: Callable[..., Any], args: tuple, kwargs: dict) -> None:
        if not self._calls:
            return
        try:
            original(*args, **kwargs)
        except _EncodersDoneError:
            return
        for target, calls in self._seen().recorded.calls.items():
            if len(calls) != self._calls[target]:
                raise other_calls(target, len(calls), self._calls[target])

    def _at_target(
        self, target: Target, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        if self._now is None:
            return function(*args, **kwargs)
        self._check_not_checkpointed(target)
        calls = self._now.recorded.calls[target]
        if self._asked is None:
            output = function(*args, **kwargs)
            calls.append(Recorded(function, args, kwargs, output))
            if self._between is not None:
                self._leave_after_the_last()
                return output
            index = len(calls) - 1
        else:
            index = self._asked[target]
            self._asked[target] += 1
            if index >= len(calls):
                raise other_calls(target, index + 1, len(calls))
        return self._edited(target, index, calls[index].output)

    def _check_not_checkpointed(self, target: Target) -> None:
        changes = self._edit is not None or self._between is not None
        if torch.is_grad_enabled() and not changes:
            return
        if runs_checkpointed():
            way = "" if changes else "pass use_reentrant=False, or "
            raise NotApplicableError(
                f"{target.path!r} is called within torch.utils.checkpoint, which calls it anew in "
                "the backward pass, without the recipes, so gradients would be wrong. To go on, "
                f"{way}put the checkpoint inside of the encoder, around its layers."
            )

    def _leave_after_the_last(self) -> None:
        calls = self._seen().recorded.calls
        if all(len(calls[target]) == count for target, count in self._calls.items()):
            raise _EncodersDoneError

    def _edited(self, target: Target, index: int, output: Any) -> Any:
        tree = map_tensors(torch.clone, output)
        if self._edit is None:
            return tree
        for claim in self._wiring.claims[target]:
            if claim.covers(index):
                part = self._with_edits(claim.modality, item_of(tree, claim.site))
                tree = with_item(tree, claim.site, part)
        return tree

    def _with_edits(self, modality: str, tree: Any) -> Any:
        _check_unpacked(modality, tree)

        def edited(tensor: Tensor) -> Tensor:
            if self._edit is None or not carries_signal(tensor):
                return tensor
            return self._edit(modality, tensor)

        return map_tensors(edited, tree)

    def _with_edited_inputs(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if self._edit is None or not self._wiring.inputs:
            return args, kwargs
        call = self._seen().call
        changed = {
            site.input: self._with_edits(modality, call.inputs[site.input])
            for modality, sites in self._wiring.inputs.items()
            for site in sites
        }
        return call.with_inputs(changed).arguments()

    def _seen(self) -> TrainingPass:
        if self._now is None:
            raise RuntimeError("no training pass is under way")
        return self._now


def _check_unpacked(modality: str, tree: Any) -> None:
    parts = tree if isinstance(tree, tuple) and not isinstance(tree, PackedSequence) else (tree,)
    if any(isinstance(part, PackedSequence) for part in parts):
        raise NotApplicableError(
            f"The features of {modality!r} are a packed sequence, whose rows are in the order of "
            "time, so those of one example cannot be changed together. Name a later site, or one "
            "part of the encoder's output, as 'encoder[1]'."
        )


def _signals(tree: Any) -> list[Tensor]:
    return list(filter(carries_signal, tensors(tree)))
