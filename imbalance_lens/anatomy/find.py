"""Finding out who is who in a model, from what flows where when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..batches import Call, bind, device_of
from ..errors import AnatomyError
from ..hooks.frozen import frozen
from ..hooks.taps import listening
from ..hooks.wrappers import unwrap
from .groups import Groups, group
from .leaves import batch_size, first_rows, leaves
from .perturb import with_hidden_ways, without_false_ways
from .select import Selector, find_head
from .trace import Trace, trace
from .tree import CalledTree
from .types import Anatomy
from .whole import SiteFinder, top_input
from .words import complaint, evidence, unseen

EXAMPLES = 2
"""How many examples are looked at: enough to exchange them."""


def find_anatomy(
    model: nn.Module, inputs: Any, *, names: Mapping[str, str] | None = None
) -> Anatomy:
    """Find the encoders, the fusion and the head of a multimodal model.

    The model runs on two of the examples, frozen, and is left as it was. Names of modules play no
    part in it; a modality is called after the input that feeds it.

    Cost: one pass that is watched, one that is recorded, and three or more of fusion and head;
    where the flow of values leaves doubt, two more passes per input; where two examples leave
    modules uncalled, one pass of the whole batch, to see whether others call them.

    Args:
        model: any model of two or more modalities, also wrapped in DDP, DataParallel or
            torch.compile; the paths are those of the unwrapped model.
        inputs: what the model takes, without labels: a tuple (positional), a mapping (keywords),
            or the one argument. Moved to the model's device unless one of them is there.
        names: name found -> name wanted.

    Returns:
        What was found; `evidence` says how each line is known. `explain` shows it.

    Raises:
        AnatomyError: fewer than two modalities could be told apart; the message has the line to
            write by hand.
        BatchError: the inputs do not fit the model's forward.
        UnknownNameError: `names` has a name that was not found.

    Example:
        >>> import torch
        >>> class Late(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.ear, self.eye = nn.Linear(4, 3), nn.Linear(5, 3)
        ...         self.head = nn.Linear(6, 2)
        ...     def forward(self, audio, visual):
        ...         return self.head(torch.cat([self.ear(audio), self.eye(visual)], 1))
        >>> found = find_anatomy(Late(), (torch.randn(8, 4), torch.randn(8, 5)))
        >>> found.encoders, found.head
        ({'audio': 'ear', 'visual': 'eye'}, 'head')
    """
    inner = unwrap(model)
    bound = bind(inner, inputs)
    if isinstance(inner, torch.jit.ScriptModule):
        raise AnatomyError(unseen(bound))
    call, seen, sometimes = _watched(inner, _at_hand(inner, bound))
    view = _View(inner, call, with_hidden_ways(inner, call, seen))
    if tried := view.in_doubt:
        view = _View(inner, call, without_false_ways(inner, call, view.trace))
    found, groups = view.selection, view.groups
    if not all(found.parts.values()) or len(found.parts) < 2:
        raise AnatomyError(complaint(view.trace, view.tree, groups, found.parts, leaves(call)))
    sites = SiteFinder(inner, call, view.trace, found, groups, sometimes).find()
    anatomy = Anatomy(
        encoders={modality: found.encoder(modality) for modality in groups.members},
        head=find_head(view.trace, found, view.tree),
        sites=sites.paths,
        parts={modality: found.own(modality) for modality in groups.members},
        inputs={modality: _written(call, groups, modality) for modality in groups.members},
        fusion=tuple(found.fusion),
        shared=tuple(found.shared),
        entangled={modality: entangled.why for modality, entangled in found.entangled.items()},
    )
    known = evidence(anatomy, view.trace, groups, sites, tried=tried)
    return replace(anatomy, evidence=known).renamed(names or {})


class _View:
    """What one look at a trace gives."""

    def __init__(self, model: nn.Module, call: Call, trace: Trace) -> None:
        self.trace = trace
        self.tree = CalledTree(model, trace.calls)
        self.groups = group(self.tree, trace.flow.tags(trace.sources), leaves(call))
        self.selection = Selector(self.tree, self.groups.modality_of).select()

    @property
    def in_doubt(self) -> bool:
        """Say whether the answer rests on the flow telling tensors apart that share a storage."""
        found = self.selection
        few = len(found.parts) < 2
        return few or bool(found.unclear or found.entangled or self.groups.never_apart)


def _at_hand(model: nn.Module, call: Call) -> Call:
    """Move a loader's tensors to the model; lengths left on the CPU on purpose stay there."""
    device = device_of(model)
    there = any(tensor.device == device for held in leaves(call).values() for tensor in held)
    return call if there else call.to(device)


def _watched(model: nn.Module, call: Call) -> tuple[Call, Trace, frozenset[str]]:
    """Return a call with few examples, what flows in it, and what other examples call besides."""
    if batch_size(call) > EXAMPLES:
        try:
            few = first_rows(call, EXAMPLES)
            seen = trace(model, few)
            more = _called_besides(model, call, seen)
        except Exception:  # not the batch was cut, or the model needs more examples
            pass
        else:
            return (call, trace(model, call), more) if more else (few, seen, more)
    return call, trace(model, call), frozenset()


def _called_besides(model: nn.Module, call: Call, seen: Trace) -> frozenset[str]:
    """Return the modules that only the whole batch calls, as a mixture of experts does."""
    before = {call.path for call in seen.calls}
    if all(path in before for path, module in model.named_modules() if module._parameters):
        return frozenset()
    called: set[str] = set()
    with frozen(model), listening(model, lambda path, *_: called.add(path)):
        call(model)
    return frozenset(called - before)


def _written(call: Call, groups: Groups, modality: str) -> tuple[str, ...]:
    """Return a modality's inputs; a mapping that it has to itself goes by its own name."""
    modality_of = groups.modality_of
    tops = {leaf: top_input(call, leaf) for leaf in leaves(call)}
    shared = {top for leaf, top in tops.items() if modality_of.get(leaf) != modality}
    names = groups.members[modality]
    return tuple(dict.fromkeys(n if tops[n] in shared else tops[n] for n in names))
