"""What probes share that give examples the features of others in their batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import ImbalanceLensError, NotApplicableError
from ..observation import Observation
from ._resampled import Resampled
from ._rows import Rows


@dataclass(eq=False, kw_only=True)
class Exchanging(Resampled):
    """A probe that exchanges features within a batch, and leaves batches of one example out."""

    _modalities: tuple[str, ...] = field(default=(), init=False, repr=False)
    _rows: Rows = field(default_factory=Rows, init=False, repr=False)
    _left_out: int = field(default=0, init=False, repr=False)

    def has_partners(self, seen: Observation) -> bool:
        """Say whether a batch has two examples or more; count the one that has no partner."""
        self._modalities = seen.modalities
        if len(seen.logits) > 1:
            return True
        self._left_out += len(seen.logits)
        return False

    def merge(self, other: Any) -> None:  # Any, as in the base: so that it can be overridden
        """Take in the examples of another copy."""
        self._modalities = self._modalities or other._modalities
        self._rows.extend(other._rows)
        self._left_out += other._left_out

    def nothing_exchanged(self) -> ImbalanceLensError:
        """Word the complaint about a result without any row."""
        if not self._left_out:
            return self.nothing_seen()
        return NotApplicableError(
            "Features are exchanged between the examples of a batch, and every batch has one "
            "example only. Use a larger batch size."
        )
