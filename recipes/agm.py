"""AGM: every encoder at a pace that brings its share of the answer back to where it used to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import checks

from ._base import Card, Recipe, Run, Seen
from ._distributed import sum_over_ranks
from ._gradients import APPLIED_TO_UPDATE, Modulation, coefficient_of, look_for_parameters
from ._history import Quantity
from ._own_logits import contributions, shapley_logits

__all__ = ["CARD", "RECIPE", "Agm", "coefficient", "lead", "shapley_logits", "surprise"]

CARD = Card(
    title="AGM, Adaptive Gradient Modulation",
    paper="Li et al., Boosting Multi-modal Model Performance with Adaptive Gradient Modulation, "
    "ICCV 2023",
    equations="mono-modal logits, discrepancy ratio, reference and modulation coefficient, as in "
    "the authors' code",
    events=("on_fit_start", "on_batch", "on_loss", "on_gradients", "on_step_end"),
    touches=("encoder gradients", "encoder updates"),
    needs="class labels; encoders with parameters of their own; any fusion",
    defaults="alpha=1.5 is that of Kontras et al. for CREMA-D with Transformers; cap=10 is that of "
    "the authors' code for two modalities, which has 7 for three",
    deviations=(
        "r = exp(M/(M-1) (mean surprise - own surprise)) is above 1 for who is ahead, and "
        "kappa = exp(alpha (tau - r)) slows it down; some toolkits have the sign of r reversed, "
        "and so speed up who is ahead",
        "the Shapley sum includes the empty set, whose logits count as 0, so that the shares sum "
        "to the model's logits; the paper's text leaves that set out, the authors' code does not",
        "the encoders' gradients are scaled; the authors' code scales what flows back through each "
        "mono-modal output, and so also the head, and, in a head that is not linear, parts of the "
        "other encoders",
        "absent modalities have features of zero; in the authors' code inputs of zero, which cost "
        "a pass of every encoder",
        "for a head that is not linear the shares are read in eval mode",
        "the reference is the running mean over all steps in which the recipe acts, before the "
        "present one, and is 1 in the first; a true-class probability below 1e-8 counts as 1e-8",
        "the authors' code also clips the gradient to a norm of 1 where the head's is larger; that "
        "is clip_norm= of the loop",
        APPLIED_TO_UPDATE,
    ),
)

COEFFICIENT = coefficient_of("agm")
SURPRISE = Quantity(
    "surprise",
    "nat",
    "mean negative log-probability of the true class, from the modality's share of the logits",
    "recipes.agm.surprise",
)
_LEAST = 1e-8


def surprise(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how surprised a modality is by the true class, summed over examples.

    Equation: sigma = -sum_b log max(softmax(phi_b)_{y_b}, 1e-8) (Li et al., ICCV 2023, as in the
    authors' code).

    Args:
        logits: (batch, classes), the modality's share.
        labels: (batch,) class indices.

    Returns:
        A scalar in nats, 0 or more.

    Example:
        >>> surprise(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor(0.6931)
    """
    checks.logits_and_labels(logits, labels)
    true = logits.float().softmax(1).gather(1, labels[:, None])
    return -true.clamp_min(_LEAST).log().sum()


def lead(surprises: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how far each modality is ahead.

    Equation: r^m = exp(M/(M-1) (mean_j sigma^j - sigma^m)) (Li et al., ICCV 2023); for two
    modalities exp(sigma^other - sigma^m).

    Args:
        surprises: modality -> mean surprise, in nats.

    Returns:
        One dimensionless scalar per modality: above 1 it is less surprised than the others.

    Raises:
        SettingError: fewer than two modalities.

    Example:
        >>> lead({"audio": torch.tensor(0.5), "visual": torch.tensor(1.5)})
        {'audio': tensor(2.7183), 'visual': tensor(0.3679)}
    """
    checks.modalities(surprises)
    mean = torch.stack([*surprises.values()]).mean(0)
    scale = len(surprises) / (len(surprises) - 1)
    return {name: (scale * (mean - own)).exp() for name, own in surprises.items()}


def coefficient(
    leads: Mapping[str, Tensor], references: Mapping[str, Tensor], alpha: float, cap: float = 10.0
) -> dict[str, Tensor]:
    """Return the factor on the pace of each encoder.

    Equation: kappa^m = exp(alpha min(tau^m - r^m, cap)) (Li et al., ICCV 2023).

    Args:
        leads: r, from `lead`.
        references: tau, what the leads used to be.
        alpha: strength, 0 or more; 0 changes nothing.
        cap: the largest difference that counts.

    Returns:
        One scalar per modality: below 1 where it is further ahead than it used to be.

    Example:
        >>> leads = lead({"audio": torch.tensor(0.5), "visual": torch.tensor(1.5)})
        >>> coefficient(leads, {name: torch.tensor(1.0) for name in leads}, alpha=0.5)
        {'audio': tensor(0.4235), 'visual': tensor(1.3717)}
    """
    return {
        name: (alpha * (references[name] - own).clamp_max(cap)).exp() for name, own in leads.items()
    }


@dataclass(eq=False, kw_only=True)
class Agm(Recipe):
    """Slows down who is further ahead than it used to be, and speeds up who is less so.

    Args:
        alpha: strength; 0 changes nothing.
        cap: the largest difference between reference and lead that counts.
        apply_to: "grad", or "update" for optimizers that cancel the scale of gradients.

    Raises:
        SettingError: a value that is not allowed.
    """

    alpha: float = 1.5
    cap: float = 10.0
    apply_to: str = "grad"

    card = CARD
    _modulation: Modulation = field(init=False, repr=False)
    _inputs: Any = field(default=None, init=False, repr=False)
    _sums: Tensor | None = field(default=None, init=False, repr=False)
    _means: Tensor | None = field(default=None, init=False, repr=False)
    _steps: Tensor | None = field(default=None, init=False, repr=False)
    _found: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        checks.positive("cap", self.cap)
        self._modulation = Modulation(self.apply_to)

    def on_fit_start(self, run: Run) -> None:
        """Forget another training, and warn where there is nothing to modulate."""
        self._inputs = self._sums = self._means = self._steps = self._found = None
        look_for_parameters(run, self.name)

    def on_batch(self, run: Run, inputs: Any, labels: Tensor) -> tuple[Any, Tensor]:  # noqa: ARG002
        """Keep the inputs, for heads that are to be run with modalities absent."""
        self._inputs = inputs
        return inputs, labels

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:
        """Measure how surprised each modality is; the loss stays."""
        shares = contributions(run, seen, self._inputs)
        self._inputs = None
        found = torch.stack([surprise(shares[name], seen.labels) for name in run.modalities])
        row = torch.cat([found, found.new_full((1,), float(len(seen.labels)))]).double()
        self._sums = row if self._sums is None else self._sums + row
        return loss

    def on_gradients(self, run: Run, seen: Seen) -> None:  # noqa: ARG002
        """Set every encoder's pace."""
        self._modulation.begin(run, self.name)
        if self._sums is None:
            return
        *sums, examples = sum_over_ranks(self._sums).unbind()
        self._sums, self._found = None, torch.stack(sums) / examples
        if self._means is None or self._steps is None:
            self._means, self._steps = torch.zeros_like(self._found), torch.zeros_like(examples)
        self._means = self._means.to(examples.device)  # a checkpoint gives it on the host
        self._steps = self._steps.to(examples.device)
        now, before = (_named(run, values) for values in (self._found, self._means))
        factors = coefficient(lead(now), lead(before), self.alpha, self.cap)
        run.record(SURPRISE, now)
        run.record(COEFFICIENT, factors)
        for modality, factor in factors.items():
            self._modulation.scale(run.parameters(modality), factor)

    def on_step_end(self, run: Run) -> None:
        """Scale the update, where it is that which is scaled, and take in a step that was made."""
        self._modulation.finish(run)
        if self._found is None or self._means is None or self._steps is None:
            return
        steps = self._steps + 1
        means = self._means + (self._found - self._means) / steps
        self._means = run.unless_skipped(means, self._means)
        self._steps = run.unless_skipped(steps, self._steps)
        self._found = None

    def state_dict(self) -> dict[str, Any]:
        """Return the running means."""
        return {"means": self._means, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._means, self._steps = state["means"], state["steps"]


def _named(run: Run, values: Tensor) -> dict[str, Tensor]:
    return dict(zip(run.modalities, values.unbind(), strict=True))


RECIPE = Agm
