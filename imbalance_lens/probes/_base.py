"""What every probe is."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import NotAttachedError
from ..observation import Need, Observation

if TYPE_CHECKING:
    import xarray as xr


class Probe(ABC):
    """Collects numbers from observations and answers one labelled dataset.

    A probe is a dataclass whose init fields are its settings. It keeps sums or per-example
    numbers on the observations' device, never activations, and copies to the host only in
    `result`. It knows formulas and observations, not models, hooks or files. What it cannot
    answer it says by raising `NotApplicableError` with the reason.
    """

    needs: ClassVar[tuple[Need, ...]] = ()
    only_when_named: ClassVar[str] = ""
    """Why it runs only when it is named, if it costs too much to be among the default probes."""
    looks_at_training: ClassVar[bool] = False
    """Whether it also wants the examples that the model was trained on."""
    needs_of_training: ClassVar[tuple[Need, ...] | None] = None
    """What it asks for of those examples; None: the same as of the others."""
    waits_for_device: ClassVar[bool] = False
    """Whether a package that it uses waits for the accelerator on the way."""
    needs_whole_batches: ClassVar[bool] = False
    """Whether it compares all examples of a batch, so that parts of one do not add up to it."""

    def looks_at(self, step: int) -> bool:  # noqa: ARG002 - for probes that take a sample
        """Say whether this batch of a loader is wanted; what no probe wants is not computed.

        Steps of a running training are not asked about: there the schedule has the say.
        """
        return True

    def peaks_only(self) -> frozenset[str]:
        """Return the places of whose activations it needs no lower ends any more."""
        return frozenset()

    @abstractmethod
    def observe(self, seen: Observation) -> None:
        """Take in one step."""

    @abstractmethod
    def result(self) -> xr.Dataset:
        """Return the dataset so far; may be called any time, and twice gives the same."""

    @abstractmethod
    def merge(self, other: Any) -> None:  # Any: `Self` as a parameter cannot be overridden
        """Take in what another copy of this probe saw, on another rank or in another part."""

    def settings(self) -> dict[str, Any]:
        """Return the values of the init fields."""
        fields = dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
        return {f.name: getattr(self, f.name) for f in fields if f.init}

    def nothing_seen(self) -> NotAttachedError:
        """Word the complaint about a result that is asked for before any observation."""
        name = type(self).__module__.rpartition(".")[2]
        return NotAttachedError(
            f"The probe {name!r} has seen no batch yet, so it has no result. Diagnose with a "
            "loader that is not empty, or let the lens see a training step first."
        )
