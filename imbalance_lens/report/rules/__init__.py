"""One small function per rule: from a report's tree to findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import Finding
from .capacity import dead_capacity
from .certainty import overconfident_modality
from .data import few_examples, nonfinite_logits
from .dominance import dominance
from .encoders import undertrained_encoder, underused_encoder
from .identifiability import not_identifiable
from .interaction import no_interaction
from .notes import entangled_encoder, notes
from .overfitting import overfitting_modality
from .scale import logit_scale
from .training import conflicting_gradients, training_lead
from .unused import unused_modality

if TYPE_CHECKING:
    import xarray as xr

RULES = (
    dominance,
    not_identifiable,
    unused_modality,
    training_lead,
    undertrained_encoder,
    underused_encoder,
    logit_scale,
    dead_capacity,
    conflicting_gradients,
    overfitting_modality,
    overconfident_modality,
    no_interaction,
    nonfinite_logits,
    notes,
    entangled_encoder,
    few_examples,
)
"""In the order of their importance to the reader."""


def find(tree: xr.DataTree) -> tuple[Finding, ...]:
    """Return what every rule finds; a rule whose numbers were not measured finds nothing."""
    return tuple(finding for rule in RULES for finding in rule(tree))
