"""Unimodal training: each encoder alone, with a head of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from imbalance_lens.errors import SettingError

from ._base import Card, Recipe, Run, Seen, Want
from ._losses import head_losses, plus
from ._standstill import Standstill, owned_by_none

CARD = Card(
    title="Unimodal training",
    paper="the reference that every paper on multimodal imbalance compares with",
    equations="L = sum_m loss(h_m(phi_m), y)",
    events=("on_fit_start", "on_loss", "on_fit_end"),
    touches=("loss", "parameters"),
    needs="one trained unimodal head per modality, linear on pooled features if none is given; "
    "encoders that share no parameters",
    defaults="there are no settings",
    deviations=(
        "one training for all encoders, where the papers have one for each: no loss reaches two of "
        "them, so each is trained as if alone, if clipping is off (its norm is that of all)",
    ),
)


@dataclass(eq=False, kw_only=True)
class Unimodal(Recipe):
    """Trains every encoder on its own head's loss; the joint loss is left out.

    What no single modality owns (fusion, head, shared parts) is frozen meanwhile.

    Raises:
        SettingError: a first or a last epoch, as what is frozen is frozen for the whole training.
    """

    card = CARD
    regresses = True
    multilabel = True
    _held: Standstill = field(default_factory=Standstill, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_epoch or self.end_epoch is not None:
            raise SettingError(
                "'unimodal' trains without the joint loss from the first epoch to the last; got "
                f"start_epoch={self.start_epoch}, end_epoch={self.end_epoch}. Leave both out, and "
                "go on with another recipe in a second call."
            )

    @property
    def trains_joint(self) -> bool:
        """Whether the joint logits are trained now: never."""
        return False

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        return {Want.HEADS}

    def on_fit_start(self, run: Run) -> None:
        """Freeze what no modality owns: it gets no gradient, and ranks would wait for one."""
        self._held.hold(owned_by_none(run))

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:  # noqa: ARG002
        """Return the sum of the heads' losses, in place of the joint one."""
        first, *others = head_losses(run, seen).items()
        return plus(first[1], dict(others))

    def on_fit_end(self, run: Run) -> None:  # noqa: ARG002
        """Give back what was frozen."""
        self._held.release()


RECIPE = Unimodal
