"""Plain joint training: the baseline of every recipe."""

from __future__ import annotations

from dataclasses import dataclass

from ._base import Card, Recipe

CARD = Card(
    title="Joint training",
    paper="the baseline of every paper on multimodal imbalance",
    equations="L = loss(f, y)",
    events=(),
    touches=(),
    needs="nothing",
    defaults="there are no settings",
)


@dataclass(eq=False, kw_only=True)
class JointTraining(Recipe):
    """Trains the model as it is, on the loss of its own logits alone."""

    card = CARD
    regresses = True
    multilabel = True


RECIPE = JointTraining
