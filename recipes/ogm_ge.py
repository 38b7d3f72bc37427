"""OGM-GE: slow down the encoders of modalities that are ahead, and add noise to gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from imbalance_lens import checks
from imbalance_lens.errors import SettingError

from ._base import Card, Recipe, Run, Seen, Want
from ._gradients import (
    APPLIED_TO_UPDATE,
    Modulation,
    add_noise_,
    coefficient_of,
    look_for_parameters,
    modulate_,
    spreads,
)
from ._ratios import finite, quotient

__all__ = [
    "CARD",
    "RECIPE",
    "OgmGe",
    "add_noise_",
    "coefficient",
    "difference",
    "modulate_",
    "ogm_star",
    "spreads",
]

CARD = Card(
    title="OGM-GE, On-the-fly Gradient Modulation with Generalization Enhancement",
    paper="Wei et al., On-the-fly Modulation for Balanced Multimodal Learning, TPAMI 2024; first "
    "Peng et al., CVPR 2022",
    equations="eq. 6, 7, 11, 12 and 16 (TPAMI); variants of its Table 15 and section 4.4.2",
    events=("on_fit_start", "on_gradients", "on_step_end"),
    touches=("encoder gradients", "encoder updates"),
    needs="class labels; encoders with parameters of their own; a score for each modality",
    defaults="alpha=0.8 is that of the authors' scripts for CREMA-D, in their own form of the "
    "coefficient; the paper's text fixes none. Noise on, as the name says. Written for SGD with "
    "momentum.",
    deviations=(
        "form='tpami', the formula of the text, is the default; the authors' code computes "
        "1 - tanh(alpha rho), which jumps at rho = 1: form='cvpr'. An alpha of one is not one of "
        "the other.",
        "all parameters of an encoder are modulated, as in the text; the authors' code touches "
        "those with four dimensions only: min_ndim=4",
        "the noise has the standard deviation over the entries of each unmodulated gradient, as in "
        "the authors' code; the text has the covariance over examples",
        "the code's modality names and its warm-up of six epochs are settings here (start_epoch)",
        "OGM* for the weaker modalities has no formula in the paper: star=4 is the constant of the "
        "authors' code, star='tanh' is ours",
        "a difference of scores (Table 15) is compared with 1, as a ratio is; it is in examples, "
        "and so depends on the batch size",
        "a score below 1e-12 counts as 1e-12",
        APPLIED_TO_UPDATE + "; noise goes to the gradient and is scaled with the update",
    ),
)

FORMS, Z, RATIOS = ("tpami", "cvpr"), ("tanh", "sigmoid"), ("quotient", "difference")
COEFFICIENT = coefficient_of("ogm_ge")


def coefficient(
    ratios: Mapping[str, Tensor], alpha: float, form: str = "tpami", *, z: str = "tanh"
) -> dict[str, Tensor]:
    """Return the factor on each encoder's gradient.

    Equation: k = max(0, 1 - alpha z(rho)) where rho > 1, else 1, with z(x) = tanh(x - 1) (Wei et
    al., TPAMI 2024, eq. 11). Form "cvpr": k = 1 - tanh(alpha rho) where rho > 1, the authors'
    code. z "sigmoid": z(x) = sigmoid(x) (Table 15).

    Args:
        ratios: modality -> discrepancy ratio, a scalar.
        alpha: strength, 0 or more; 0 slows nobody. Not the same scale in both forms.
        form: "tpami" or "cvpr".
        z: "tanh" or "sigmoid", of form "tpami".

    Returns:
        One scalar per modality between 0 and 1; NaN where the ratio is.

    Raises:
        SettingError: an unknown form or z, or a z for form "cvpr".

    Example:
        >>> coefficient({"audio": torch.tensor(1.5), "visual": torch.tensor(0.67)}, alpha=0.8)
        {'audio': tensor(0.6303), 'visual': tensor(1.)}
    """
    _check_shape(form, z)
    return {name: _slowed(ratio, alpha, form, z) for name, ratio in ratios.items()}


def ogm_star(
    ratios: Mapping[str, Tensor], alpha: float, *, constant: float | None = None
) -> dict[str, Tensor]:
    """Return factors that speed up who is behind, instead of slowing down who is ahead.

    Equation: k = 1 + alpha tanh(1 / rho - 1) where rho < 1, else 1. This form is ours; the paper
    (section 4.4.2) gives none, and the authors' code has a constant in its place.

    Args:
        ratios: modality -> discrepancy ratio, a scalar.
        alpha: strength, 0 or more.
        constant: the factor wherever rho < 1, in place of the formula; 4 in the authors' code.

    Returns:
        One scalar per modality, 1 or more; NaN where the ratio is.

    Example:
        >>> ogm_star({"audio": torch.tensor(1.5), "visual": torch.tensor(2 / 3)}, alpha=0.8)
        {'audio': tensor(1.), 'visual': tensor(1.3697)}
    """
    return {
        name: _unless(
            ratio >= 1,
            ratio * 0 + constant if constant is not None else 1 + alpha * (1 / ratio - 1).tanh(),
        )
        for name, ratio in ratios.items()
    }


def difference(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return by how much each modality's score exceeds the others'.

    Equation: rho^m = 1/(M-1) sum_{j != m} (S^m - S^j) (Wei et al., TPAMI 2024, Table 15).

    Args:
        scores: modality -> summed true-class probability, a scalar in examples.

    Returns:
        One scalar per modality, in examples.

    Raises:
        SettingError: fewer than two modalities.

    Example:
        >>> difference({"audio": torch.tensor(3.0), "visual": torch.tensor(1.5)})
        {'audio': tensor(1.5000), 'visual': tensor(-1.5000)}
    """
    checks.modalities(scores)
    return {
        name: torch.stack([score - other for key, other in scores.items() if key != name]).mean(0)
        for name, score in scores.items()
    }


@dataclass(eq=False, kw_only=True)
class OgmGe(Recipe):
    """Slows down the encoders of modalities that are ahead, and adds noise to gradients.

    Args:
        alpha: strength; 0 slows nobody.
        form: "tpami" or "cvpr", see `coefficient`.
        ratio: "quotient" or "difference" of scores.
        z: "tanh" or "sigmoid", see `coefficient`.
        noise: whether noise of each gradient's own spread is added (GE); False is plain OGM.
        only_modulated: whether only the modalities whose factor is not 1 get noise.
        min_ndim: parameters of fewer dimensions are left alone; 4: convolutions only.
        star: speeds up who is behind instead: "tanh", or the factor itself. None: does not.
        apply_to: "grad", or "update" for optimizers that cancel the scale of gradients.

    Raises:
        SettingError: a value that is not allowed, or settings that exclude each other.
    """

    alpha: float = 0.8
    form: str = "tpami"
    ratio: str = "quotient"
    z: str = "tanh"
    noise: bool = True
    only_modulated: bool = False
    min_ndim: int = 1
    star: Literal["tanh"] | float | None = None
    apply_to: str = "grad"

    card = CARD
    _modulation: Modulation = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("alpha", self.alpha, 0)
        _check_shape(self.form, self.z)
        checks.one_of("ratio", self.ratio, RATIOS)
        checks.whole("min_ndim", self.min_ndim, 0)
        if self.star is not None:
            self._check_star()
        self._modulation = Modulation(self.apply_to)

    def wants(self) -> set[Want]:
        """Return what is to be measured."""
        return {Want.SCORES}

    def on_fit_start(self, run: Run) -> None:
        """Warn where there is nothing to modulate."""
        look_for_parameters(run, self.name)

    def on_gradients(self, run: Run, seen: Seen) -> None:
        """Modulate every encoder's gradients, or note by how much to scale the update."""
        self._modulation.begin(run, self.name, noise=self.noise)
        factors = self.coefficients(seen.scores)
        run.record(COEFFICIENT, factors)
        for modality, factor in factors.items():
            parameters = [p for p in run.parameters(modality) if p.ndim >= self.min_ndim]
            deviations = spreads(parameters) if self.noise else []  # before they are scaled
            if self.only_modulated:
                deviations = [torch.where(factor == 1, 0, spread) for spread in deviations]
            self._modulation.scale(parameters, factor)
            if self.noise:
                add_noise_(parameters, deviations, run.generator)

    def on_step_end(self, run: Run) -> None:
        """Scale the update, where it is that which is scaled."""
        self._modulation.finish(run)

    def coefficients(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the factor on each encoder, from the scores and the settings."""
        ratios = quotient(scores) if self.ratio == "quotient" else difference(finite(scores))
        if self.star is None:
            return coefficient(ratios, self.alpha, self.form, z=self.z)
        constant = None if self.star == "tanh" else self.star
        return ogm_star(ratios, self.alpha, constant=constant)

    def _check_star(self) -> None:
        if isinstance(self.star, str):
            checks.one_of("star", self.star, ("tanh", None))
        else:
            checks.at_least("star", self.star or 0, 1)
        if (self.form, self.ratio, self.z) != ("tpami", "quotient", "tanh"):
            raise SettingError(
                f"star={self.star!r} speeds up who is behind, by a form of its own on quotients. "
                "Leave out form, ratio and z."
            )


def _slowed(ratio: Tensor, alpha: float, form: str, z: str) -> Tensor:
    if form == "cvpr":
        return _unless(ratio <= 1, 1 - (alpha * ratio).tanh())
    lead = (ratio - 1).tanh() if z == "tanh" else ratio.sigmoid()
    return _unless(ratio <= 1, (1 - alpha * lead).clamp_min(0))


def _unless(untouched: Tensor, factor: Tensor) -> Tensor:
    return torch.where(untouched, torch.ones_like(factor), factor)


def _check_shape(form: str, z: str) -> None:
    checks.one_of("form", form, FORMS)
    checks.one_of("z", z, Z)
    if form == "cvpr" and z != "tanh":
        raise SettingError(f"z={z!r} belongs to form='tpami'; form='cvpr' has a tanh of its own.")


RECIPE = OgmGe
