"""Whether each modality, and the model, is right as often as it says it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from .. import checks, formulas, schema
from ..formulas import Reliability
from ..observation import Need, Observation
from ._base import Probe
from ._scores import scored

if TYPE_CHECKING:
    import xarray as xr

_MOST_BINS = 10_000
"""Their width then is the fourth decimal of a confidence."""

_HOME = "imbalance_lens.formulas.calibration"
_BY_BIN = {
    "count": ("counts", "example", "examples with a confidence in this bin"),
    "confidence": ("confidence", "1", "mean confidence of the examples in this bin"),
    "accuracy": ("accuracy", "1", "accuracy on the examples in this bin"),
}
_OVERALL = {
    "error": ("expected_error", "1", "expected calibration error"),
    "maximum_error": ("maximum_error", "1", "largest calibration error of any bin"),
    "confidence_gap": ("gap", "1", "mean confidence, minus accuracy"),
    "overconfidence": (
        "overconfidence",
        "1",
        "the part of the expected calibration error from bins more sure than right",
    ),
    "nonfinite": (
        "nonfinite",
        "example",
        "examples whose logits, NaN or infinite, have no softmax",
    ),
}


@dataclass(eq=False)
class Calibration(Probe):
    """Compares how sure each modality and the model are with how often they are right.

    The confidence is the probability of the most likely class. Examples are sorted into bins of
    equal width by it; the expected calibration error is the mean distance of confidence and
    accuracy over the bins, weighted by their examples (Guo et al., ICML 2017; for multimodal
    training Kontras et al., BMVC 2024, Fig. 5).

    Cost: what reading the modalities' own logits costs. Memory: sums only, 32 bytes per head and
    bin.

    Args:
        bins: their number, 10,000 at most.

    Raises:
        SettingError: `bins` is not above 0.

    Example:
        >>> sure, unsure = torch.tensor([[9.0, 0.0]] * 2), torch.tensor([[0.0, 0.0]] * 2)
        >>> seen = Observation(
        ...     labels=torch.tensor([0, 1]),
        ...     logits=sure,
        ...     modalities=("audio", "visual"),
        ...     modality_logits={"audio": sure, "visual": unsure},
        ... )
        >>> probe = Calibration()
        >>> probe.observe(seen)
        >>> probe.result()["error"].sel(head=["audio", "visual"]).values.round(3)
        array([0.5, 0. ])
    """

    needs = (Need.LABELS, Need.MODALITY_LOGITS)
    bins: int = 15
    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _heads: dict[str, Reliability] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        checks.whole("bins", self.bins, most=_MOST_BINS)

    def observe(self, seen: Observation) -> None:
        """Sort one batch into the bins, by the logits of each modality and of the model."""
        self._modalities = seen.modalities
        for name, logits in {**seen.modality_logits, schema.JOINT: seen.logits}.items():
            confidence = formulas.top_confidence(logits)
            self._head(name).update(confidence, scored(logits, seen.labels)[1])

    def merge(self, other: Self) -> None:
        """Take in the sums of another copy."""
        self._modalities = self._modalities or other._modalities
        for name, head in other._heads.items():
            self._head(name).merge(head)

    def result(self) -> xr.Dataset:
        """Return the errors over (head), and what they are made of over (head, bin).

        Raises:
            NotAttachedError: nothing was observed yet.
        """
        if not self._heads:
            raise self.nothing_seen()
        names = [*self._modalities, schema.JOINT]
        variables = {
            name: schema.variable(
                dims,
                self._read(names, attribute, units),
                units=units,
                long_name=long_name,
                formula=f"{_HOME}.Reliability",
            )
            for dims, table in ((("head", "bin"), _BY_BIN), (("head",), _OVERALL))
            for name, (attribute, units, long_name) in table.items()
        }
        edges = np.arange(1, self.bins + 1) / self.bins
        return schema.dataset(variables, {"head": names, "bin": edges}, settings=self.settings())

    def _read(self, names: list[str], attribute: str, units: str) -> np.ndarray:
        read = [getattr(self._heads[name], attribute) for name in names]
        values = torch.stack(read).cpu().numpy()
        return values.astype(np.int64) if units == "example" else values

    def _head(self, name: str) -> Reliability:
        if name not in self._heads:
            self._heads[name] = Reliability(self.bins)
        return self._heads[name]


PROBE = Calibration
