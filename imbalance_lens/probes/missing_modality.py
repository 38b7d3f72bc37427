"""What the model is worth when modalities are missing now and then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch

from .. import checks, formulas, schema
from ..errors import SettingError
from ..observation import Need, Observation
from ._resampled import Resampled
from ._rows import Rows
from ._scores import scored

if TYPE_CHECKING:
    import xarray as xr

_QUANTITIES = {
    "accuracy": ("accuracy", "imbalance_lens.formulas.scores.correct"),
    "confidence": (
        "mean probability of the true class",
        "imbalance_lens.formulas.scores.label_confidence",
    ),
}


@dataclass(eq=False)
class MissingModality(Resampled):
    """Follows accuracy and confidence as modalities go missing more and more often.

    This is the missing-modality test (Wei et al., TPAMI 2024, Fig. 6) without its dice: where each
    modality is missing with a probability of its own, independently for each example, the
    expectation is a sum over the sets of modalities that can be left, each times its probability.
    With the rate p for one modality m alone it is (1 - p) v(all) + p v(all but m); with the rate p
    for all of them it is sum_S (1 - p)^|S| p^(M - |S|) v(S), exact, and no run gives another.

    Cost: fusion and head once per set and batch, no encoder (except with fill="input"): 2^M - 1
    sets up to `exact_up_to` modalities. Above, only those without one modality, M of them, and
    what concerns all modalities at once is NaN. Sets that another probe asks for with the same
    fill cost nothing more. Memory: 5 bytes per example and set.

    Args:
        rates: probabilities that a modality is missing, 0 to 1, each once, in rising order.
        fill: what stands for missing features: "zero"; "mean" of the batch; "permute", another
            example's; "input", the encoder's answer to a zero input.
        exact_up_to: the largest number of modalities for which all sets are evaluated.
        resamples: number of bootstrap resamples behind the intervals.
        confidence_level: of the intervals.
        seed: of the resamples.

    Raises:
        SettingError: no rates, or such as are out of range or order; or another setting out of
            range.

    Example:
        >>> def coalitions(present, fill="zero", draw=0):  # only "audio" has a say
        ...     return torch.tensor([[0.0, 1.0], [1.0, 0.0]]) * ("audio" in present)
        >>> names = ("audio", "visual")
        >>> seen = Observation(
        ...     labels=torch.tensor([1, 0]),
        ...     logits=coalitions(names),
        ...     modalities=names,
        ...     coalitions=coalitions,
        ... )
        >>> probe = MissingModality(rates=(0.0, 0.5))
        >>> probe.observe(seen)
        >>> probe.result()["accuracy"].sel(modality="audio").values
        array([1.  , 0.75])
    """

    needs = (Need.LABELS, Need.COALITIONS)
    rates: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    fill: str = "zero"
    exact_up_to: int = 8
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _rows: Rows = field(default_factory=Rows, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole("exact_up_to", self.exact_up_to, 0)
        try:
            rates = tuple(float(rate) for rate in self.rates)
        except (TypeError, ValueError):
            rates = ()
        rising = all(one < other for one, other in pairwise(rates))
        if not rates or not rising or rates[0] < 0 or not rates[-1] <= 1:
            raise SettingError(
                "rates must be probabilities from 0 to 1 in rising order, one at least; got "
                f"{self.rates!r}."
            )
        self.rates = rates

    def observe(self, seen: Observation) -> None:
        """Score one batch with every set of modalities that can be left."""
        self._modalities = seen.modalities
        *some, _ = self._sets()
        each = [*(seen.coalitions(present, fill=self.fill) for present in some), seen.logits]
        scores = [scored(logits, seen.labels) for logits in each]
        confidence, correct = (torch.stack(column, 1) for column in zip(*scores, strict=True))
        self._rows.append(accuracy=correct, confidence=confidence.float())

    def merge(self, other: Self) -> None:
        """Take in the examples of another copy."""
        self._modalities = self._modalities or other._modalities
        self._rows.extend(other._rows)

    def result(self) -> xr.Dataset:
        """Return the curves over (modality, rate), and over (rate) for all modalities at once.

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        if not len(self._rows):
            raise self.nothing_seen()
        table, sets, names = self._rows.on_host(), self._sets(), list(self._modalities)
        columns = np.stack([table[name] for name in _QUANTITIES], 1).astype(np.float64)
        means = columns.mean(0)
        draws = self.resample(columns, [sorted(present) for present in sets])
        variables = {}
        for prefix, (dims, weights, when) in self._curves(sets).items():
            for k, (name, (described, formula)) in enumerate(_QUANTITIES.items()):
                variables |= self.estimate(
                    f"{prefix}{name}",
                    dims,
                    _expected(weights, means[k]),
                    np.moveaxis(_expected(weights, draws[:, k].T), -1, 0),
                    long_name=f"{described} where {when}",
                    formula=formula,
                )
        return schema.dataset(
            variables,
            {"modality": names, "rate": list(self.rates), "bound": ["low", "high"]},
            settings=self.settings(),
            examples=len(self._rows),
            exact=self._is_exact,
        )

    @property
    def _is_exact(self) -> bool:
        return len(self._modalities) <= self.exact_up_to

    def _sets(self) -> list[frozenset[str]]:
        """Return the sets that are evaluated, all modalities last."""
        if self._is_exact:
            return formulas.coalitions(self._modalities)
        everyone = frozenset(self._modalities)
        return [*(everyone - {name} for name in self._modalities), everyone]

    def _curves(self, sets: Sequence[frozenset[str]]) -> dict[str, _Curve]:
        names, rates = self._modalities, torch.tensor(self.rates, dtype=torch.float64)
        one = np.stack([_likely(sets, {**dict.fromkeys(names, 0.0), m: rates}) for m in names])
        every = _likely(sets, dict.fromkeys(names, rates))
        if not self._is_exact:
            every = np.full_like(every, np.nan)
        some = every * [bool(present) for present in sets]
        with np.errstate(invalid="ignore"):  # 0 / 0: at the rate 1 nothing is ever left
            some = some / some.sum(1, keepdims=True)
        at = "is missing at the rate"
        return {
            "": _Curve(("modality", "rate"), one, f"this modality {at}"),
            "all_": _Curve(("rate",), every, f"each modality {at}"),
            "some_": _Curve(("rate",), some, f"each modality {at}, but never all of them"),
        }


class _Curve(NamedTuple):
    """How likely each set is, (*dims, sets), and what that describes."""

    dims: tuple[str, ...]
    weights: np.ndarray
    when: str


def _likely(
    sets: Sequence[frozenset[str]], rates: Mapping[str, torch.Tensor | float]
) -> np.ndarray:
    """Return the probability of each set at each rate, (rates, sets)."""
    given = [formulas.presence_probability(present, rates) for present in sets]
    return torch.stack(given, 1).numpy()


def _expected(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the expectation of (sets, ...); unknown only where an unknown value can occur."""
    unknown = np.isnan(values)
    expected = weights @ np.where(unknown, 0.0, values)
    return np.where((weights != 0).astype(float) @ unknown > 0, np.nan, expected)


PROBE = MissingModality
