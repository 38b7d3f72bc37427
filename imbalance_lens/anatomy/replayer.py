"""A model that is frozen and wired, ready to be captured batch by batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Self

from torch import nn

from ..batches import Call
from ..errors import AnatomyError
from ..hooks.activations import Producers, activations
from ..hooks.attention import hidden_in_fused_layers, unfused
from ..hooks.frozen import Buffers, frozen
from ..hooks.recurrent import differentiable
from ..hooks.wrappers import unwrap
from ..observation import Activation
from ..trees import tensors
from .copies import Copies
from .outputs import LogitsOf
from .replay import Replay
from .sites import Recording, Wiring, check_recorded
from .types import Anatomy


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
        >>> import torch
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
        self._producers: Producers | None = None
        self._lends: bool | None = None  # leaves its inputs as they are; None: not known yet
        self._restless: bool | None = None  # changes its buffers in eval mode; None: not known yet
        self.is_open = False
        self._frozen = ExitStack()

    def __enter__(self) -> Self:
        self._frozen.enter_context(frozen(self.model))
        if hidden_in_fused_layers(self.model, (target.path for target in self.wiring.claims)):
            self._frozen.enter_context(unfused())
        self.is_open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.is_open = False
        self._frozen.close()

    def capture(
        self,
        call: Call,
        *,
        graph: bool = False,
        listen: bool = False,
        peaks_only: Collection[str] = (),
    ) -> Replay:
        """Run the model once and keep what its sites gave.

        Args:
            call: the inputs of a batch.
            graph: keep the graph, where gradients are enabled.
            listen: also take in what the activation functions give, which saves
                `Replay.activations` a pass of its own.
            peaks_only: places of activation functions that need no look at how low they go.

        Raises:
            AnatomyError: a site was not reached or holds no features; or, at the first batch, the
                replay of all modalities does not give the model's own output.
            BatchError: the output holds no logits (batch, classes), or more than one.
        """
        for site in (site for sites in self.wiring.inputs.values() for site in sites):
            if site.input not in call.inputs:
                known = ", ".join(map(repr, call.inputs))
                raise AnatomyError(f"The model gets no input {site.input!r}; it gets {known}.")
        copies = Copies(call.inputs, again=self._lends is not False)
        start = Buffers(self.model) if self._restless is not False else None
        with ExitStack() as stack:
            stack.enter_context(differentiable(self.model))
            recorded = stack.enter_context(self.wiring.recording(graph=graph))
            heard = stack.enter_context(self._listening(call, peaks_only)) if listen else None
            output = call.with_inputs(copies.lend()).run(self.model)
        if self._lends is None:
            self._lends = copies.untouched()
        if self._restless is None and start is not None:
            self._restless = start.moved()
        start = start if self._restless else None
        return self.replay(call, recorded, output, start, heard, copies if self._lends else None)

    def replay(
        self,
        call: Call,
        recorded: Recording,
        output: Any = None,
        start: Buffers | None = None,
        heard: Mapping[str, Activation] | None = None,
        copies: Copies | None = None,
    ) -> Replay:
        """Return the replay of a pass that ran elsewhere, under `wiring.recording`.

        Args:
            call: the inputs of that pass.
            recorded: what its sites gave.
            output: what the model gave. Default: fusion and head run once more, in eval mode.
            start: the buffers before that pass, for a model that changes them in eval mode.
            heard: what the activation functions gave, where somebody listened.
            copies: of the inputs, lent to that pass; they are lent again.
        """
        check_recorded(recorded, self.wiring.claims)
        copies = copies or Copies(call.inputs, again=bool(self._lends))
        replay = Replay(self, call, copies, recorded, output, self._logits_of, start, heard)
        if self._logits_of is None:
            self._logits_of = replay.logits_of
        return replay

    def listen(
        self, call: Call, start: Buffers | None = None, *, batch_statistics: bool = False
    ) -> Mapping[str, Activation]:
        """Run the model once and return what its activation functions gave, by place.

        Args:
            call: the inputs of a batch.
            start: the buffers to start from, for a model that changes them in eval mode.
            batch_statistics: let the BatchNorm layers use those of the batch.
        """
        listening = self._listening(call, batch_statistics=batch_statistics)
        with self.at(start), listening as heard:
            call(self.model)
        return heard

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

    def _listening(
        self, call: Call, peaks_only: Collection[str] = (), *, batch_statistics: bool = False
    ) -> AbstractContextManager[Mapping[str, Activation]]:
        if self._producers is None:
            self._producers = Producers(self.model, self.anatomy.owner)
        sizes = [len(tensor) for tensor in tensors(dict(call.inputs)) if tensor.ndim]
        examples = sizes[0] if sizes else 0
        return activations(
            self._producers, examples, peaks_only=peaks_only, batch_statistics=batch_statistics
        )
