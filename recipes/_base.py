"""What a recipe is, what it is shown, and the card that says where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imbalance_lens import checks
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.anatomy.linear_fusion import LinearFusion

from ._card import Card
from ._heads import UnimodalHeads
from ._history import Quantity

if TYPE_CHECKING:
    from ._data.batches import TrainingLoader
    from ._training.plan import Plan


class Want(Enum):
    """What a recipe asks of whoever runs it."""

    SCORES = "the score of each modality, once per optimizer step"
    SCORES_BEFORE_FUSION = "the score of each modality, when the encoders have run"
    HEADS = "unimodal heads that are trained beside the model"
    NUMBERS = "the number of each example in the data set"
    HEAD_SCORES = "that the scores are those of the unimodal heads, whatever else could give them"


@dataclass(frozen=True)
class Seen:
    """What the training shows to a recipe.

    In `on_loss` it is one micro-batch, in the graph. In `on_gradients` it is a whole optimizer
    step: scores and examples are summed over its micro-batches and over all ranks, and the
    other fields are those of this rank's last micro-batch.

    Attributes:
        labels: (batch,) class indices; numbers (batch, ...) for a regression.
        logits: (batch, classes), the model's own.
        features: each encoder's output, (batch, ...), before any recipe has changed it.
        modality_logits: those of the unimodal heads, (batch, classes); empty where no recipe
            wants heads.
        scores: summed true-class probability of each modality's own logits, a scalar in examples;
            for a regression the summed squared error. Empty where no recipe wants scores.
        examples: 0-dim, how many examples the scores are summed over.
    """

    labels: Tensor
    logits: Tensor
    features: Mapping[str, Tensor]
    modality_logits: Mapping[str, Tensor]
    scores: Mapping[str, Tensor]
    examples: Tensor


_COUNTS = ("step", "micro_step", "epoch")


@dataclass
class Run:
    """The training that recipes act on.

    Attributes:
        model: the user's own model, unwrapped.
        anatomy: who is who in it.
        generator: for noise, in the same state on every rank.
        regression: whether the labels are numbers to predict, not classes.
        heads: the unimodal heads; None where no recipe wants any.
        fusion: the linear layer over concatenated features, where the model has one.
        loss: what the model's own logits are trained with: (logits, labels) -> mean loss, a scalar.
        scores: those of this training pass alone, as in `Seen`, but summed over ranks; set before
            the first `on_features` of a pass. Empty where no recipe wants scores before fusion.
        features: each encoder's output in this pass, unchanged; set together with `scores`.
        optimizer: None until it is built.
        step: optimizer steps done, those included that were left out for an overflow.
        micro_step: training passes of the model done.
        epoch: epochs done.
        logits_of: gets the logits (batch, classes) out of what the model returns; set when the
            model has been looked at, after `on_fit_start`.
        numbers: (batch,) which examples of the data set are in this micro-batch, on the host; None
            where no recipe wants them, or nobody gave them.
        data: the examples of the bundled loop; None in a loop of one's own.
        plan: how the bundled loop trains; None before the optimizer is built, and in a loop of
            one's own.
        skipped: 0-dim, whether the optimizer left out this step for an overflow; None where that
            cannot be, or where the step's end is not reached then.
    """

    model: nn.Module
    anatomy: Anatomy
    generator: torch.Generator
    regression: bool = False
    heads: UnimodalHeads | None = None
    fusion: LinearFusion | None = None
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy
    scores: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    features: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    optimizer: Optimizer | None = None
    step: int = 0
    micro_step: int = 0
    epoch: int = 0
    logits_of: Callable[[Any], Tensor] = field(default=lambda output: output, repr=False)
    numbers: Tensor | None = field(default=None, repr=False)
    data: TrainingLoader | None = field(default=None, repr=False)
    plan: Plan | None = field(default=None, repr=False)
    skipped: Tensor | None = None
    _record: Callable[[Quantity, Mapping[str, Tensor]], None] = field(
        default=lambda *_: None, repr=False
    )
    _record_epoch: Callable[[Quantity, Mapping[str, float]], None] = field(
        default=lambda *_: None, repr=False
    )
    _own: dict[str, list[nn.Parameter]] = field(default_factory=dict, repr=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities' names, in order."""
        return self.anatomy.modalities

    def parameters(self, modality: str) -> list[nn.Parameter]:
        """Return the trainable parameters that only this modality's encoder owns."""
        if modality not in self._own:
            owned = self.anatomy.parameters(self.model, modality)
            self._own[modality] = [parameter for parameter in owned if parameter.requires_grad]
        return self._own[modality]

    def record(self, quantity: Quantity, values: Mapping[str, Tensor]) -> None:
        """Write one scalar per modality into the history of this step; stays on the device."""
        self._record(quantity, values)

    def record_epoch(self, quantity: Quantity, values: Mapping[str, float]) -> None:
        """Write one number per modality, or head, into the history of this epoch."""
        self._record_epoch(quantity, values)

    def state_dict(self) -> dict[str, Any]:
        """Return where the run is."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"generator": self.generator.get_state(), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.generator.set_state(state["generator"])
        for name in _COUNTS:
            setattr(self, name, state[name])

    def unless_skipped(self, new: Tensor, old: Tensor) -> Tensor:
        """Return `new`, or `old` where the optimizer left out the step."""
        return new if self.skipped is None else torch.where(self.skipped, old, new)


@dataclass(eq=False, kw_only=True)
class Recipe:
    """A training remedy: it acts at named events, through formulas and in-place appliers.

    A recipe is a dataclass whose init fields are its settings. All event methods may be left
    out. `recipes/_training/loop.py` shows where each fires; all except `on_fit_start` and
    `on_fit_end` fire only from `start_epoch` to `end_epoch`.

    Args:
        start_epoch: first epoch, counted from 0, in which the recipe acts.
        end_epoch: last epoch in which it acts, included. None: to the end.
    """

    start_epoch: int = 0
    end_epoch: int | None = None

    name: ClassVar[str] = ""
    """Its public name: that of its file in this package, else of its class, or as it was added."""
    card: ClassVar[Card]
    regresses: ClassVar[bool] = False
    """Whether numbers to predict are understood beside classes."""
    multilabel: ClassVar[bool] = False
    """Whether several labels per example are understood, in whatever form the loss takes them."""

    def __init_subclass__(cls) -> None:
        package, _, file = cls.__module__.rpartition(".")
        cls.name = file if package == __package__ else cls.__name__

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            if setting.init and setting.type in (bool, "bool"):  # "no" would be taken for True
                checks.flag(setting.name, getattr(self, setting.name))
        checks.whole("start_epoch", self.start_epoch, 0)
        if self.end_epoch is not None:
            checks.whole("end_epoch", self.end_epoch, self.start_epoch)

    def wants(self) -> set[Want]:
        """Return what is to be measured for the recipe, given its settings."""
        return set()

    def acts_in(self, epoch: int) -> bool:
        """Say whether the recipe acts in an epoch."""
        return self.start_epoch <= epoch and (self.end_epoch is None or epoch <= self.end_epoch)

    @property
    def trains_joint(self) -> bool:
        """Whether the joint logits are trained now; an epoch without is never the best."""
        return True

    def settings(self) -> dict[str, Any]:
        """Return the values of the init fields."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}

    def parameter_groups(self, run: Run) -> list[dict[str, Any]]:
        """Return what the optimizer is to treat apart, such as parameters that are new.

        Asked once, after `on_fit_start`; the groups are as `Optimizer.add_param_group` takes them.
        """
        return []

    def on_fit_start(self, run: Run) -> None:
        """Prepare the model; called before the optimizer is built."""

    def on_epoch_start(self, run: Run) -> None:
        """Act at the start of an epoch."""

    def on_batch(self, run: Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:
        """Return what takes the place of a micro-batch."""
        return inputs, labels

    def on_features(self, run: Run, modality: str, features: Tensor) -> Tensor:
        """Return what takes the place of one tensor of a modality's features."""
        return features

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:
        """Return what takes the place of the loss of a micro-batch."""
        return loss

    def on_gradients(self, run: Run, seen: Seen) -> None:
        """Change gradients; once per optimizer step, summed, averaged over ranks and unscaled."""

    def on_step_end(self, run: Run) -> None:
        """Act after the optimizer has stepped."""

    def on_epoch_end(self, run: Run) -> None:
        """Act at the end of an epoch."""

    def on_fit_end(self, run: Run) -> None:
        """Give back what was prepared; also called after an error."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and numbers with which a resumed training goes on as if uninterrupted."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""


def acts_on(recipe: Recipe, event: str) -> bool:
    """Say whether a recipe has an event method of its own."""
    return getattr(type(recipe), event) is not getattr(Recipe, event)
