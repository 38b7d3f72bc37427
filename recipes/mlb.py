"""MLB: a loss for every modality, and every encoder at a pace that balances them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from imbalance_lens import checks
from imbalance_lens.errors import NotApplicableError, SettingError

from ._base import Card, Recipe, Run, Seen, Want
from ._gradients import APPLIED_TO_UPDATE, Modulation, coefficient_of, look_for_parameters
from ._losses import head_losses, plus
from ._ratios import finite

CARD = Card(
    title="MLB, Multi-Loss Balanced",
    paper="Kontras et al., Improving Multimodal Learning with Multi-Loss Gradient Modulation, "
    "BMVC 2024",
    equations="eq. 2 to 7",
    events=("on_fit_start", "on_loss", "on_gradients", "on_step_end"),
    touches=("loss", "encoder gradients", "encoder updates"),
    needs="one trained unimodal head per modality, linear on pooled features if none is given; "
    "encoders with parameters of their own; class labels, or numbers to predict",
    defaults="alpha=0.5 and beta_max=10 are those of the authors' script for CREMA-D with ResNets; "
    "the paper tunes both on held-out data",
    deviations=(
        "eq. 4 as printed sums over modalities and has no softmax; here the true-class probability "
        "is summed over the examples, as in the authors' code",
        "encoders only are paced, as in eq. 2; the authors' code also paces their heads "
        "(include_head=True) and their columns of the first fusion layer "
        "(include_fusion_slice=True)",
        "for large alpha the pace of who is ahead falls to nearly 0 (9e-5 for alpha=5), although "
        "the paper says it never halts: k_min sets a least pace",
        "for numbers to predict, eq. 5 has the mean squared error in place of the score, and so "
        "upside down, as in the authors' code",
        "beta_max below 1, which the paper excludes and one of the authors' scripts has, needs "
        "any_beta=True",
        "a score below 1e-12 counts as 1e-12",
        "the authors' default optimizer is Adam, with which the paces hardly act; "
        + APPLIED_TO_UPDATE,
    ),
)

COEFFICIENT = coefficient_of("mlb")


def relative_lag(scores: Mapping[str, Tensor], *, errors: bool = False) -> dict[str, Tensor]:
    """Return how far each modality is behind the others.

    Equation: r^m = (1/(M-1) sum_{j != m} S^j) / S^m (Kontras et al., BMVC 2024, eq. 5); of errors
    E, which are small where scores are large, E^m / (1/(M-1) sum_{j != m} E^j).

    Args:
        scores: modality -> positive scalar.
        errors: whether these are errors.

    Returns:
        One dimensionless scalar per modality: above 1 it is behind. For three modalities or more
        it is not the inverse of the discrepancy ratio.

    Raises:
        SettingError: fewer than two modalities.

    Example:
        >>> relative_lag({"audio": torch.tensor(0.6), "visual": torch.tensor(0.3)})
        {'audio': tensor(0.5000), 'visual': tensor(2.)}
    """
    checks.modalities(scores)
    # Quotients first: each is 1, and so their mean, where all are equal.
    lags = {
        name: torch.stack([other / own for key, other in scores.items() if key != name]).mean(0)
        for name, own in scores.items()
    }
    return {name: 1 / lag for name, lag in lags.items()} if errors else lags


def coefficient(
    scores: Mapping[str, Tensor],
    alpha: float,
    beta_max: float,
    *,
    k_min: float = 0.0,
    errors: bool = False,
) -> dict[str, Tensor]:
    """Return the factor on the pace of each encoder.

    Equation: k = 1 + (beta - 1) tanh(alpha (r - 1)) with beta = beta_max where r > 1 and 2
    elsewhere (Kontras et al., BMVC 2024, eq. 6 and 7), r from `relative_lag`.

    Args:
        scores: modality -> positive scalar.
        alpha: steepness, 0 or more.
        beta_max: the largest factor, 1 or more.
        k_min: the smallest one that is given.
        errors: whether the scores are errors, which are small where scores are large.

    Returns:
        One scalar per modality: above 1 where it is behind, below 1 where it is ahead, in
        (1 - tanh alpha, beta_max); NaN where a score is.

    Raises:
        SettingError: fewer than two modalities.

    Example:
        >>> scores = {"audio": torch.tensor(0.6), "visual": torch.tensor(0.3)}
        >>> coefficient(scores, alpha=0.5, beta_max=10)
        {'audio': tensor(0.7551), 'visual': tensor(5.1591)}
    """
    lags = relative_lag(finite(scores), errors=errors)
    pulls = {name: (alpha * (lag - 1)).tanh() for name, lag in lags.items()}
    return {
        name: (1 + torch.where(lags[name] > 1, (beta_max - 1) * pull, pull)).clamp_min(k_min)
        for name, pull in pulls.items()
    }


@dataclass(eq=False, kw_only=True)
class Mlb(Recipe):
    """Adds the unimodal heads' losses, speeds up who is behind, and slows down who is ahead.

    Args:
        alpha: steepness; 0 is Multi-Loss.
        beta_max: the largest factor.
        k_min: the smallest factor, from 0 to 1.
        include_head: whether each unimodal head goes at the pace of its encoder.
        include_fusion_slice: whether each modality's columns of the linear layer over the
            concatenated features do.
        any_beta: allows a beta_max below 1, which slows down who is behind, too.
        apply_to: "grad", or "update" for optimizers that cancel the scale of gradients.

    Raises:
        SettingError: a value that is not allowed.
    """

    alpha: float = 0.5
    beta_max: float = 10.0
    k_min: float = 0.0
    include_head: bool = False
    include_fusion_slice: bool = False
    any_beta: bool = False
    apply_to: str = "grad"

    card = CARD
    regresses = True
    _modulation: Modulation = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        checks.at_least("beta_max", self.beta_max, 0)
        checks.at_least("k_min", self.k_min, 0)
        if self.k_min > 1:
            raise SettingError(f"k_min must be 1 or less; got {self.k_min!r}.")
        if self.beta_max < 1 and not self.any_beta:
            raise SettingError(
                f"beta_max must be 1 or more; got {self.beta_max!r}, which slows down who is "
                "behind, too. Pass any_beta=True if that is meant."
            )
        self._modulation = Modulation(self.apply_to)

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        return {Want.HEADS, Want.SCORES, Want.HEAD_SCORES}

    def on_fit_start(self, run: Run) -> None:
        """Warn where there is nothing to modulate."""
        look_for_parameters(run, self.name)

    def on_loss(self, run: Run, seen: Seen, loss: Tensor) -> Tensor:
        """Return the joint loss and the heads' losses together."""
        return plus(loss, head_losses(run, seen))

    def on_gradients(self, run: Run, seen: Seen) -> None:
        """Set every encoder's pace."""
        self._modulation.begin(run, self.name)
        factors = self.coefficients(seen.scores, errors=run.regression)
        run.record(COEFFICIENT, factors)
        for modality, factor in factors.items():
            self._modulation.scale(run.parameters(modality), factor)
            if self.include_head and run.heads is not None:
                self._modulation.scale(list(run.heads[modality].parameters()), factor)
            if self.include_fusion_slice:
                self._scale_slice(run, modality, factor)

    def on_step_end(self, run: Run) -> None:
        """Scale the update, where it is that which is scaled."""
        self._modulation.finish(run)

    def coefficients(
        self, scores: Mapping[str, Tensor], *, errors: bool = False
    ) -> dict[str, Tensor]:
        """Return the factor on each encoder, from the scores, or errors, and the settings."""
        return coefficient(scores, self.alpha, self.beta_max, k_min=self.k_min, errors=errors)

    def _scale_slice(self, run: Run, modality: str, factor: Tensor) -> None:
        if run.fusion is None:
            raise NotApplicableError(
                "include_fusion_slice=True needs a linear layer whose input is all features side "
                "by side, and this model has none. Leave it out."
            )
        weight = run.fusion.layer(run.model).weight
        self._modulation.scale([weight], factor, run.fusion.columns[modality])


RECIPE = Mlb
