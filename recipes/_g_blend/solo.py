"""One head of a multimodal model, trained and asked without the rest of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.recording import Recorded
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.anatomy.sites import Claim, Site, Target, Wiring, item_of
from imbalance_lens.batches import Call, bind, device_of
from imbalance_lens.hooks.answers import has_hooks
from imbalance_lens.hooks.patches import patched
from imbalance_lens.trees import carries_signal, map_tensors, tensors


class JointHead(nn.Module):
    """The whole model, from inputs to logits.

    Args:
        model: is held, not copied.
        logits_of: gets the logits out of what it returns.
    """

    def __init__(self, model: nn.Module, logits_of: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._logits_of = logits_of

    def forward(self, inputs: Any) -> Tensor:
        """Return the logits (batch, classes)."""
        args, kwargs = bind(self.model, inputs).arguments()
        return self._logits_of(self.model(*args, **kwargs))


class ModalityHead(nn.Module):
    """One modality's encoder and its unimodal head, from the model's inputs to logits.

    The model's forward is begun, the other encoders answer zeros at once, and it is left when the
    encoder has answered. Where the encoder's features come out otherwise by that, the first batch
    tells, and the whole forward is run.

    Cost: a pass of the encoder and of what forward does before it.

    Args:
        model: is held, not copied.
        head: from the encoder's features to logits.
        anatomy: of the model.
        modality: whose head it is.
        inputs: of one batch.
        logits_of: gets the logits out of what the model returns.

    Attributes:
        shortcut: whether the other encoders are left out.
    """

    def __init__(
        self,
        model: nn.Module,
        head: nn.Module,
        anatomy: Anatomy,
        modality: str,
        inputs: Any,
        logits_of: Callable[[Any], Tensor],
    ) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self._modality = modality
        self._wiring = Wiring(model, anatomy)
        call = bind(model, inputs).to(device_of(model))
        self._examples = _examples(call)
        with Replayer(model, anatomy, logits_of=logits_of) as replayer:
            replay = replayer.capture(call)
            self._blanks = {
                target: [_outline(made) for made in calls]
                for target, calls in replay.recorded.calls.items()
            }
            self.shortcut = True
            self.shortcut = self._agrees(call, replay.features[modality])

    def forward(self, inputs: Any) -> Tensor:
        """Return the logits (batch, classes)."""
        return self.head(self.features(bind(self.model, inputs)))

    def features(self, call: Call) -> Tensor:
        """Return the encoder's output, (batch, ...), in the graph."""
        for site in self._wiring.inputs.get(self._modality, ()):
            return _first_signal(call.inputs[site.input])
        return self._from_encoder(call) if self.shortcut else self._from_whole_pass(call)

    def _from_encoder(self, call: Call) -> Tensor:
        source, place, site = self._source()
        asked = dict.fromkeys(self._blanks, 0)
        examples = _examples(call)

        def answer(target: Target, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            index = asked[target]
            asked[target] += 1
            if not any(c.covers(index) and self._owns(c) for c in self._wiring.claims[target]):
                return self._blank(target, index, examples)
            output = function(*args, **kwargs)
            if target == source and index == place:
                raise _Heard(_first_signal(item_of(output, site)))
            return output

        args, kwargs = call.arguments()
        try:
            with ExitStack() as stack:
                for target in self._blanks:
                    function = getattr(target.owner, target.method)
                    stack.enter_context(
                        patched(target.owner, target.method, partial(answer, target, function))
                    )
                self.model(*args, **kwargs)
        except _Heard as heard:
            return heard.features
        raise _OtherwiseError(f"{source.path!r} was not called")

    def _from_whole_pass(self, call: Call) -> Tensor:
        source, place, site = self._source()
        args, kwargs = call.arguments()
        with self._wiring.recording(graph=True) as recorded:
            self.model(*args, **kwargs)
        return _first_signal(item_of(recorded.calls[source][place].output, site))

    def _agrees(self, call: Call, features: Tensor) -> bool:
        if any(has_hooks(target.owner, target.method) for target in self._blanks):
            return False
        try:
            found = self.features(call)
        except Exception:  # what zeros do to a forward has no bounds
            return False
        return found.shape == features.shape and torch.allclose(found, features, equal_nan=True)

    def _source(self) -> tuple[Target, int, Site]:
        """Return the first call that gives the modality's features, and what part of it does."""
        for target, calls in self._blanks.items():
            for index in range(len(calls)):
                for claim in self._wiring.claims[target]:
                    if self._owns(claim) and claim.covers(index):
                        return target, index, claim.site
        raise _OtherwiseError(f"{self._modality!r} has no site")

    def _owns(self, claim: Claim) -> bool:
        return claim.modality == self._modality

    def _blank(self, target: Target, index: int, examples: int) -> Any:
        if index >= len(self._blanks[target]):
            raise _OtherwiseError(f"{target.path!r} was called more often than before")
        device = device_of(self.model)

        def zeros(outline: Tensor) -> Tensor:
            shape = list(outline.shape)
            if shape and shape[0] == self._examples:
                shape[0] = examples
            return torch.zeros(shape, dtype=outline.dtype, device=device)

        return map_tensors(zeros, self._blanks[target][index])


class _Heard(BaseException):
    """Leaves a forward with what an encoder gave; no `except Exception` of a user's stops it."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


class _OtherwiseError(RuntimeError):
    """The forward took another way than with the first batch."""


def _outline(made: Recorded) -> Any:
    return map_tensors(lambda tensor: tensor.to("meta"), made.output)


def _first_signal(tree: Any) -> Tensor:
    return next(filter(carries_signal, tensors(tree)))


def _examples(call: Call) -> int:
    sizes = [len(tensor) for tensor in tensors(dict(call.inputs)) if tensor.ndim]
    return sizes[0] if sizes else 0
