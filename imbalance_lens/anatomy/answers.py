"""What the sites answered in one pass, as it was or with something else in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..batches import Call
from ..trees import carries_signal, map_tensors, tensors
from .recording import Recorded, Recording, Target
from .sites import Site, Wiring, item_of, with_item

StandIn = Callable[[str, Site, Any, Recorded | None], Any]
"""Gets modality, site, features and the call that gave them; gives what takes their place."""


@dataclass(frozen=True)
class Answers:
    """The features of one pass at every site.

    Args:
        modalities: all of them, in order.
        wiring: where the sites are.
        call: the inputs of the pass.
        recorded: what its targets gave.
    """

    modalities: tuple[str, ...]
    wiring: Wiring
    call: Call
    recorded: Recording

    def of(self, target: Target, index: int, stand_in: StandIn) -> Any:
        """Return what a call of a target answers with the stand-ins in it."""
        made = self.recorded.calls[target][index]
        tree = map_tensors(torch.clone, made.output)
        for claim in self.wiring.claims[target]:
            if claim.covers(index):
                own = item_of(tree, claim.site)
                other = stand_in(claim.modality, claim.site, own, made)
                tree = tree if other is own else with_item(tree, claim.site, other)
        return tree

    def with_inputs(self, call: Call, stand_in: StandIn) -> Call:
        """Return a call with the stand-ins of the inputs that are sites themselves."""
        return call.with_inputs(
            {
                site.input: stand_in(modality, site, call.inputs[site.input], None)
                for modality, sites in self.wiring.inputs.items()
                for site in sites
            }
        )

    def signals(self) -> dict[str, tuple[Tensor, ...]]:
        """Return all floating-point tensors of each modality's sites, in order."""
        found: dict[str, list[Tensor]] = {modality: [] for modality in self.modalities}

        def note(modality: str, site: Site, tree: Any, made: Recorded | None) -> Any:  # noqa: ARG001
            found[modality] += filter(carries_signal, tensors(tree))
            return tree

        self.with_inputs(self.call, note)
        for target, calls in self.recorded.calls.items():
            for index in range(len(calls)):
                self.of(target, index, note)
        return {modality: tuple(parts) for modality, parts in found.items()}
