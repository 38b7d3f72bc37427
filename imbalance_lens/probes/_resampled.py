"""What probes with bootstrap intervals share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, schema
from ._base import Probe
from ._intervals import interval, resampled_means

if TYPE_CHECKING:
    import xarray as xr


@dataclass(eq=False, kw_only=True)
class Resampled(Probe):
    """A probe whose numbers come with bootstrap intervals over the examples.

    Args:
        resamples: number of bootstrap resamples behind the intervals.
        confidence_level: of the intervals.
        seed: of the resamples.

    Raises:
        SettingError: `resamples` is not above 0, or `confidence_level` not between 0 and 1.
    """

    resamples: int = 1000
    confidence_level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        checks.whole("resamples", self.resamples)
        checks.fraction("confidence_level", self.confidence_level)
        checks.whole("seed", self.seed, 0)

    def resample(self, columns: np.ndarray, keys: Sequence[Any]) -> np.ndarray:
        """Return the means of all columns over the same resampled examples.

        Args:
            columns: (examples, quantities, entries).
            keys: one per entry, such as the modality's name: how a user orders the entries then
                changes no draw.

        Returns:
            (resamples, quantities, entries).
        """
        examples, quantities, entries = columns.shape
        order = sorted(range(entries), key=keys.__getitem__)
        sort_by = [quantity * entries + k for quantity in range(quantities) for k in order]
        flat = columns.reshape(examples, -1).astype(np.float64)
        draws = resampled_means(flat, sort_by, resamples=self.resamples, seed=self.seed)
        return draws.reshape(-1, quantities, entries)

    def estimate(
        self,
        name: str,
        dims: Sequence[str],
        values: Any,
        draws: np.ndarray,
        *,
        units: str = "1",
        long_name: str,
        formula: str,
    ) -> dict[str, xr.Variable]:
        """Return a variable (*dims) and its interval, from its draws (resamples, *dims)."""
        ends = interval(draws, self.confidence_level)
        return {
            name: schema.variable(dims, values, units=units, long_name=long_name, formula=formula),
            f"{name}_interval": schema.variable(
                (*dims, "bound"),
                ends,
                units=units,
                long_name=f"{self.confidence_level:.4g} bootstrap interval: {long_name}",
                formula="scipy.stats.bootstrap",
            ),
        }
