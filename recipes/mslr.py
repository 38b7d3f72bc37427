"""MSLR: every encoder at a learning rate of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from imbalance_lens import checks
from imbalance_lens.batches import device_of
from imbalance_lens.errors import NotApplicableError, SettingError

from ._base import Card, Recipe, Run, Seen
from ._data.batches import ValidationLoader
from ._gradients import Modulation, coefficient_of, look_for_parameters
from ._history import Quantity
from ._training.validation import Validation

CARD = Card(
    title="MSLR, Modality-Specific Learning Rates",
    paper="Yao and Mihalcea, Modality-specific Learning Rates for Effective Multimodal Additive "
    "Late-fusion, Findings of ACL 2022",
    equations="fixed rates; rates that follow the accuracies on held-out data, in the form of "
    "Kontras et al., BMVC 2024: k_m = rate_m accuracy_m / mean of the accuracies before",
    events=("on_fit_start", "on_gradients", "on_step_end", "on_epoch_end"),
    touches=("encoder gradients", "encoder updates"),
    needs="encoders with parameters of their own; for rates that follow accuracies held-out "
    "examples, class labels, and logits for each modality",
    defaults="none for the rates, which are the paper's unimodal optima: try those with which each "
    "encoder trains best alone; window=5 is that of Kontras et al.",
    deviations=(
        "a rate is a factor on the optimizer's own, so schedulers and warm-up keep their meaning",
        "what the optimizer's step does is scaled (apply_to='update'), weight decay included, as "
        "another learning rate would do for any of torch's optimizers; Kontras et al. scale "
        "gradients (apply_to='grad'), which Adam cancels",
        "only encoders have rates of their own; fusion and head keep the optimizer's",
        "the paper has three strategies; the one that smooths rates over the training is left out",
        "an accuracy of 0 in the whole window leaves the rate as it is given",
    ),
)

COEFFICIENT = coefficient_of("mslr")
ACCURACY = Quantity(
    "held_out_accuracy",
    "1",
    "share of the held-out examples that the modality's own logits classify correctly",
    "imbalance_lens.formulas.scores.correct",
)


def relative_accuracy(accuracies: Sequence[float], window: int = 5) -> float:
    """Return how an accuracy stands to those before it.

    Equation: a_e / mean(a_{e-K} ... a_{e-1}), and 1 as long as there are not K before (Kontras et
    al., BMVC 2024, as in the authors' code).

    Args:
        accuracies: one per epoch, the latest last, 0 to 1.
        window: K, how many epochs are averaged.

    Returns:
        Dimensionless: above 1 where the modality has got better.

    Example:
        >>> relative_accuracy([0.25, 0.75, 0.75], window=2)
        1.5
        >>> relative_accuracy([0.5, 0.6], window=2)
        1.0
    """
    before = accuracies[-window - 1 : -1]
    if len(before) < window or not sum(before):
        return 1.0
    return accuracies[-1] * window / sum(before)


@dataclass(eq=False, kw_only=True)
class Mslr(Recipe):
    """Trains every encoder at a learning rate of its own.

    Args:
        rates: modality -> factor on the optimizer's learning rate. Default: 1 for all.
        val: loader of held-out examples; the rates then follow each modality's accuracy on them.
        window: over how many epochs the earlier accuracies are averaged.
        apply_to: "update", which is a learning rate for every optimizer, or "grad".

    Raises:
        SettingError: a value that is not allowed; when the training starts, rates for other
            modalities than the model's, or neither rates nor `val`.
    """

    rates: Mapping[str, float] | None = None
    val: Iterable[Any] | None = field(default=None, repr=False)
    window: int = 5
    apply_to: str = "update"

    card = CARD
    regresses = True
    multilabel = True
    _modulation: Modulation = field(init=False, repr=False)
    _validation: Validation | None = field(default=None, init=False, repr=False)
    _accuracies: dict[str, list[float]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, rate in (self.rates or {}).items():
            checks.at_least(f"rates[{name!r}]", rate, 0)
        checks.whole("window", self.window)
        self._modulation = Modulation(self.apply_to)

    def settings(self) -> dict[str, Any]:
        """Return the values of the init fields; of the loader, what it is."""
        given = super().settings()
        return given | ({} if self.val is None else {"val": type(self.val).__name__})

    def on_fit_start(self, run: Run) -> None:
        """Look whether the rates fit the model; forget another training."""
        if self.rates is None and self.val is None:
            raise SettingError(
                f"{self.name!r} needs to know the rates. Pass rates={{modality: factor}} with one "
                f"for each of {', '.join(map(repr, run.modalities))}, or val= for rates that "
                "follow the accuracies on held-out examples."
            )
        if self.rates is not None:
            checks.same_modalities("rates", self.rates, run.modalities)
        look_for_parameters(run, self.name)
        self._accuracies = {name: [] for name in run.modalities}
        self._validation = None
        if self.val is not None:
            split = None if run.data is None else run.data.split
            self._validation = Validation(ValidationLoader(self.val, split=split))

    def on_gradients(self, run: Run, seen: Seen) -> None:  # noqa: ARG002
        """Set every encoder's rate."""
        self._modulation.begin(run, self.name)
        device = device_of(run.model)
        factors = {name: torch.full((), self._rate(name), device=device) for name in run.modalities}
        run.record(COEFFICIENT, factors)
        for modality, factor in factors.items():
            self._modulation.scale(run.parameters(modality), factor)

    def on_step_end(self, run: Run) -> None:
        """Scale the update, where it is that which is scaled."""
        self._modulation.finish(run)

    def on_epoch_end(self, run: Run) -> None:
        """Measure the accuracies that the rates of the next epoch follow."""
        if self._validation is None:
            return
        autocast = nullcontext if run.plan is None else run.plan.autocast
        found = self._validation.measure(run, device_of(run.model), run.logits_of, autocast)
        if "val_modality_accuracy" not in found:
            raise NotApplicableError(
                "Rates that follow accuracies need class labels. Leave out val=, and pass rates=."
            )
        _, accuracies = found["val_modality_accuracy"]
        of = dict(zip(run.modalities, accuracies, strict=True))
        unknown = [name for name, accuracy in of.items() if accuracy != accuracy]
        if unknown:
            raise NotApplicableError(
                f"The logits of {' and '.join(map(repr, unknown))} alone cannot be read out of "
                "this head, so there is no accuracy to follow. Pass heads={modality: module}, add "
                "a recipe that trains heads, such as 'multi_loss', or pass rates= without val=."
            )
        run.record_epoch(ACCURACY, of)
        for name, accuracy in of.items():
            self._accuracies[name].append(accuracy)

    def state_dict(self) -> dict[str, Any]:
        """Return the accuracies so far."""
        return {"accuracies": {name: list(found) for name, found in self._accuracies.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._accuracies = {name: list(found) for name, found in state["accuracies"].items()}

    def _rate(self, modality: str) -> float:
        given = 1.0 if self.rates is None else self.rates[modality]
        return given * relative_accuracy(self._accuracies[modality], self.window)


RECIPE = Mslr
