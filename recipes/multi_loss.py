"""Multi-Loss: every modality has a head and a loss of its own, beside the joint one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ._base import Card, Recipe, Run, Seen, Want
from ._losses import head_losses, plus

CARD = Card(
    title="Multi-Loss",
    paper="Kontras et al., Improving Multimodal Learning with Multi-Loss Gradient Modulation, "
    "BMVC 2024",
    equations="eq. 3: L = loss(f, y) + sum_m loss(h_m(phi_m), y)",
    events=("on_loss",),
    touches=("loss",),
    needs="one trained unimodal head per modality, linear on pooled features if none is given",
    defaults="all weights 1, as in the paper",
    deviations=(
        "any loss: the heads are trained with the function that trains the model, where the paper "
        "has the cross-entropy of classes",
    ),
)


@dataclass(eq=False, kw_only=True)
class MultiLoss(Recipe):
    """Adds each unimodal head's loss to the joint loss, with weight 1."""

    card = CARD
    regresses = True
    multilabel = True

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        return {Want.HEADS}

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:
        """Return the joint loss and the heads' losses together."""
        return plus(loss, head_losses(run, seen))


RECIPE = MultiLoss
