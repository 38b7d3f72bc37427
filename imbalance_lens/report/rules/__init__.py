"""One small function per rule: from a report's tree to findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import Finding
from .capacity import dead_capacity
from .data import few_examples, nonfinite_logits
from .dominance import dominance
from .identifiability import not_identifiable
from .notes import entangled_encoder, notes
from .scale import logit_scale
from .unused import unused_modality

if TYPE_CHECKING:
    import xarray as xr

RULES = (
    dominance,
    not_identifiable,
    unused_modality,
    logit_scale,
    dead_capacity,
    nonfinite_logits,
    notes,
    entangled_encoder,
    few_examples,
)
"""In the order of their importance to the reader."""


def find(tree: xr.DataTree) -> tuple[Finding, ...]:
    """Return what every rule finds; a rule whose numbers were not measured finds nothing."""
    return tuple(finding for rule in RULES for finding in rule(tree))
