"""Which share of an example's input a lead in confidence hides."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_lens import checks
from imbalance_lens.errors import NoEffectWarning, SettingError

from .confidences import Confidences

RHO, ETA, THRESHOLD = 1.0, 1.0, 0.2


def mask_ratio(
    confidences: Mapping[str, Tensor],
    rho: float | Mapping[str, float] = RHO,
    eta: float | Mapping[str, float] = ETA,
    threshold: float = THRESHOLD,
    *,
    official_quirk: bool = False,
) -> dict[str, Tensor]:
    """Return which share of each example's input to leave out.

    Equation: m^a = rho^a tanh(eta^a (c^a - c^v)) where c^a > c^v and c^v > t, else 0 (Feng et al.,
    2023, eq. 4). With several others (ours), c^v is their mean, and the smallest is to exceed t.

    Args:
        confidences: modality -> (examples,) mean true-class probability, 0 to 1.
        rho: largest share, 0 to 1, for all or for each modality.
        eta: how fast it grows with the lead, 0 or more, for all or for each modality.
        threshold: below it another modality's confidence is taken for noise.
        official_quirk: the ratios of the authors' code, of two modalities, its audio first: the
            first one's ratio wherever the second's confidence reaches the threshold, the second's
            where only the first's does; either may be negative, which leaves out nothing.

    Returns:
        modality -> (examples,), 0 to rho tanh(eta); NaN where a confidence is. Of two modalities
        never both are above 0.

    Raises:
        SettingError: fewer than two modalities, numbers for others, or the quirk with three.

    Example:
        >>> sure = {"audio": torch.tensor([0.9, 0.3]), "visual": torch.tensor([0.4, 0.8])}
        >>> mask_ratio(sure, rho={"audio": 1.0, "visual": 0.4})
        {'audio': tensor([0.4621, 0.0000]), 'visual': tensor([0.0000, 0.1848])}
    """
    checks.modalities(confidences)
    rhos, etas = each("rho", rho, confidences), each("eta", eta, confidences)
    if official_quirk:
        return _official(confidences, rhos, etas, threshold)
    found: dict[str, Tensor] = {}
    for name, own in confidences.items():
        others = torch.stack([other for key, other in confidences.items() if key != name])
        lead = own - others.mean(0)
        untouched = (lead <= 0) | (others.amin(0) <= threshold)
        ratio = rhos[name] * (etas[name] * lead).tanh()
        found[name] = torch.where(untouched & ~lead.isnan(), torch.zeros_like(ratio), ratio)
    return found


class MaskRatios:
    """The ratios of all training examples, from which those of a batch are taken.

    Examples that were never measured are never masked.

    Args:
        found: their confidences.
        rho: as for `mask_ratio`.
        eta: as for `mask_ratio`.
        threshold: as for `mask_ratio`.
        official_quirk: as for `mask_ratio`.
        mean: whether all examples of a modality have the mean of its ratios.
    """

    def __init__(
        self,
        found: Confidences,
        rho: float | Mapping[str, float],
        eta: float | Mapping[str, float],
        threshold: float,
        *,
        official_quirk: bool,
        mean: bool,
    ) -> None:
        confidences = {name: found.of(name) for name in found.modalities}
        ratios = mask_ratio(confidences, rho, eta, threshold, official_quirk=official_quirk)
        rhos = each("rho", rho, ratios)
        self._found = found
        self._hides = [name for name in ratios if rhos[name] > 0]
        known = {
            name: (ratio.nanmean().reshape(1) if mean else ratio).nan_to_num(0)
            for name, ratio in ratios.items()
        }
        self._means = {n: float(r.clamp_min(0).mean().nan_to_num(0)) for n, r in known.items()}
        # The last one is for examples that were never measured.
        self._ratios = {name: nn.functional.pad(ratio, (0, 1)) for name, ratio in known.items()}
        if self._hides and not any(self._means.values()):
            warnings.warn(
                "No modality is surer than the others of any example that these are sure of, so no "
                "input is masked. Train longer in the first stage, or lower the threshold.",
                NoEffectWarning,
                stacklevel=5,
            )

    def means(self) -> dict[str, float]:
        """Return the mean share that is hidden of each modality."""
        return dict(self._means)

    def of_batch(self, numbers: Tensor | None, examples: int) -> dict[str, Tensor]:
        """Return the ratios of a batch, of the modalities that can have any.

        Args:
            numbers: (batch,) of its examples; None where all have the same ratio.
            examples: how many there are.
        """
        if numbers is None:
            return {name: self._ratios[name][:1].expand(examples) for name in self._hides}
        at = self._found.rows(numbers)
        return {name: self._ratios[name][at] for name in self._hides}


def check_strengths(rho: float | Mapping[str, float], eta: float | Mapping[str, float]) -> None:
    """Complain about strengths that none can be.

    Raises:
        SettingError: rho outside of 0 to 1, or eta below 0.
    """
    for name, value in (("rho", rho), ("eta", eta)):
        for number in value.values() if isinstance(value, Mapping) else [value]:
            checks.at_least(name, number, 0)
            if name == "rho" and number > 1:
                raise SettingError(f"rho must lie from 0 to 1; got {number!r}.")


def each(
    what: str, value: float | Mapping[str, float], modalities: Mapping[str, Any]
) -> dict[str, float]:
    """Return a number for each modality, of one for all or of one each."""
    if isinstance(value, Mapping):
        checks.same_modalities(what, value, modalities)
        return dict(value)
    return dict.fromkeys(modalities, value)


def _official(
    confidences: Mapping[str, Tensor],
    rhos: Mapping[str, float],
    etas: Mapping[str, float],
    threshold: float,
) -> dict[str, Tensor]:
    if len(confidences) != 2:
        raise SettingError(
            "official_quirk=True is the authors' code for two modalities; got "
            f"{', '.join(confidences)}. Leave it out."
        )
    (first, one), (second, other) = confidences.items()
    reached = other >= threshold
    ratios = {
        first: (reached, rhos[first] * (etas[first] * (one - other)).tanh()),
        second: (
            ~reached & (one >= threshold),
            rhos[second] * (etas[second] * (other - one)).tanh(),
        ),
    }
    return {n: torch.where(there, r, torch.zeros_like(r)) for n, (there, r) in ratios.items()}
