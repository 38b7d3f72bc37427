"""G-Blend: losses of all heads, weighted by what each gains and overfits when trained alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from imbalance_lens import checks
from imbalance_lens.errors import SettingError
from imbalance_lens.schema import JOINT

from ._base import Card, Recipe, Run, Seen, Want
from ._distributed import world_size
from ._g_blend.blend import blend_weights, correlated_weights, super_epochs
from ._g_blend.blending import Blending, Estimate
from ._g_blend.estimate import copied, estimate_weights, examples_of
from ._g_blend.estimate_files import EstimateFile
from ._g_blend.estimation import Estimation, Examples
from ._history import Quantity
from ._losses import head_losses, plus

__all__ = [
    "CARD",
    "RECIPE",
    "Estimate",
    "GBlend",
    "blend_weights",
    "correlated_weights",
    "estimate_weights",
    "super_epochs",
]

CARD = Card(
    title="G-Blend, Gradient-Blending",
    paper="Wang et al., What Makes Training Multi-modal Classification Networks Hard?, CVPR 2020",
    equations="eq. 3, 6 and 7, Alg. 1 to 3",
    events=("on_fit_start", "on_epoch_start", "on_loss", "on_fit_end"),
    touches=("loss",),
    needs="one trained unimodal head per modality, linear on pooled features if none is given; "
    "class labels; held-out training examples, by default a tenth of a DataLoader with numbered "
    "examples; a model that can be copied. With weights= only the heads",
    defaults="offline, as most of the paper's results; online, a first super-epoch of 10 epochs, "
    "then 5, as in its section 3.3. The paper holds out 8 % or 13 %, the floor is ours",
    deviations=(
        "a head that got worse gets no weight, and |O| counts as a tenth of the largest G at "
        "least, where the paper's weights would be negative or infinite; raw=True is the paper's",
        "eq. 6 is normalized so that the weights sum to 1; with the paper's Z they sum to 2",
        "the sign of O is that of the paper's appendix B: what the held-out loss lags behind",
        "Alg. 3 as printed passes the end of a super-epoch as its length; here it is the length",
        "each head is trained with an optimizer that has no momentum yet",
        "the held-out examples are left out of the whole training, not of the estimate alone",
        "the correlated solution takes covariances from the epochs of one estimate, and gives no "
        "negative weights",
    ),
)

WEIGHT = Quantity(
    "weight", "1", "weight of the head's loss", "recipes.g_blend.blend_weights", over="head"
)
_TERMS = {
    "generalization": "gain on the held-out examples, of the head trained alone",
    "overfitting": "growth of the gap between held-out and training, of the head trained alone",
    "ogr": "overfitting-to-generalization ratio of the head trained alone",
}


@dataclass(eq=False, kw_only=True)
class GBlend(Recipe):
    """Trains on the weighted losses of all unimodal heads and the joint one.

    Args:
        weights: head -> number, the joint one as "joint". Default: estimated.
        online: estimate anew at the start of every super-epoch, not once.
        first_super_epoch: epochs of the first one.
        super_epoch: epochs of the others.
        estimate_epochs: epochs that heads are trained alone in an offline estimate. Default: those
            of the training.
        fraction: of the training examples that heads are trained on alone; 1, or less.
        held_out: fraction of the training examples that are left out of the training to judge the
            heads by.
        val: a loader of held-out training examples in their place, never of test data.
        measure: "loss" or "accuracy", by which heads are judged.
        solution: "uncorrelated" or "correlated", see `estimate_weights`.
        floor: smallest overfitting that counts, in parts of the largest gain.
        raw: no floors.
        folder: where finished heads of an estimate are kept, so that one that is interrupted goes
            on with the next.
        seed: of the choice of examples, and of the random state of each estimate.

    Raises:
        SettingError: a value that is not allowed.
    """

    weights: Mapping[str, float] | None = None
    online: bool = False
    first_super_epoch: int = 10
    super_epoch: int = 5
    estimate_epochs: int | None = None
    fraction: float = 1.0
    held_out: float = 0.1
    val: Iterable[Any] | None = None
    measure: str = "loss"
    solution: str = "uncorrelated"
    floor: float = 0.1
    raw: bool = False
    folder: str | os.PathLike[str] | None = None
    seed: int = 0

    card = CARD
    regresses = True
    multilabel = True
    _how: Blending = field(init=False, repr=False)
    _now: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _until: int = field(default=0, init=False, repr=False)
    _blank: nn.Module | None = field(default=None, init=False, repr=False)
    _examples: Examples | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._how = Blending(self.measure, self.solution, self.floor, self.raw)
        checks.whole("first_super_epoch", self.first_super_epoch)
        checks.whole("super_epoch", self.super_epoch)
        checks.fraction("held_out", self.held_out)
        if self.fraction != 1:
            checks.fraction("fraction", self.fraction)
        if self.estimate_epochs is not None:
            checks.whole("estimate_epochs", self.estimate_epochs)
            if self.online:
                raise SettingError(
                    "An online estimate trains for as long as its super-epoch. Leave out "
                    "estimate_epochs=, or online=True."
                )

    def settings(self) -> dict[str, Any]:
        """Return the values of the init fields that say how the training goes."""
        told = super().settings() | {"val": None if self.val is None else "given"}
        return {name: value for name, value in told.items() if name != "folder"}

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        return {Want.HEADS}

    def on_fit_start(self, run: Run) -> None:
        """Take the given weights, or hold out examples and copy the model for estimates."""
        self._now, self._until = dict(self.weights or {}), 0
        if self.weights is not None:
            _check_heads(self.weights, run.modalities)
            return
        if run.data is None or world_size() > 1:
            where = "a loop of your own" if run.data is None else "a training on several ranks"
            raise SettingError(
                f"'g_blend' estimates no weights in {where}. Call recipes.g_blend.estimate_weights("
                "model, train, val, epochs=...) before, and pass weights=estimate.weights."
            )
        self._blank = copied(run.model)
        self._examples = examples_of(
            run.data, self.val, fraction=self.fraction, held_out=self.held_out, seed=self.seed
        )

    def on_epoch_start(self, run: Run) -> None:
        """Estimate the weights where it is time to, and record those of this epoch."""
        due = run.epoch >= self._until if self.online else not self._now
        if self.weights is None and due:
            self._estimate(run)
        run.record_epoch(WEIGHT, self._now)

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:
        """Return the blended loss; a unimodal head without weight is left as it is."""
        blended = {
            name: own * self._now[name]
            for name, own in head_losses(run, seen).items()
            if self._now[name] != 0
        }
        return plus(loss * self._now[JOINT], blended)

    def on_fit_end(self, run: Run) -> None:  # noqa: ARG002
        """Let go of the copy."""
        self._blank = self._examples = None

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, and how long they hold."""
        return {"weights": dict(self._now), "until": self._until}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._now, self._until = dict(state["weights"]), state["until"]

    def _estimate(self, run: Run) -> None:
        if run.plan is None or self._blank is None or self._examples is None:
            raise RuntimeError("no training is under way")
        epochs = self._epochs(run.epoch, run.plan.epochs)
        self._until = run.epoch + epochs
        estimation = Estimation(
            run,
            self._blank,
            self._examples,
            epochs=self.estimate_epochs or epochs,
            seed=self.seed,
            each_epoch=self._how.each_epoch,
            file=None if self.folder is None else EstimateFile(self.folder, run.epoch),
        )
        found = self._how.estimate(estimation.by_head(), self.settings())
        self._now = dict(found.weights)
        for name, long_name in _TERMS.items():
            values = found.dataset[name]
            quantity = Quantity(
                name, values.attrs["units"], long_name, values.attrs["formula"], over="head"
            )
            run.record_epoch(
                quantity, dict(zip(found.weights, values.values.tolist(), strict=True))
            )

    def _epochs(self, epoch: int, of_training: int) -> int:
        """Return for how many epochs weights that are estimated now will hold."""
        last = of_training if self.end_epoch is None else min(of_training, self.end_epoch + 1)
        if not self.online:
            return last - epoch
        stretches = super_epochs(last - self.start_epoch, self.first_super_epoch, self.super_epoch)
        ends = (self.start_epoch + end for _, end in stretches)
        return next(end for end in ends if end > epoch) - epoch


def _check_heads(weights: Mapping[str, float], modalities: tuple[str, ...]) -> None:
    checks.same_modalities("weights", weights, (*modalities, JOINT))
    for name, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise SettingError(
                f"The weight of {name!r} must be a number of 0 or more; got {weight!r}."
            )
    if not any(weights.values()):
        raise SettingError("All weights are 0, so nothing would be trained. Set one above 0.")


RECIPE = GBlend
