"""What the diagnosis itself noticed about the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import Finding, Verdict
from ..reading import root
from ..words import one_line, shown

if TYPE_CHECKING:
    import xarray as xr


def notes(tree: xr.DataTree) -> list[Finding]:
    """Pass on each remark of the diagnosis, such as a signal that bypasses the encoders."""
    return [
        Finding("note", Verdict.YES, one_line(sentence), evidence="notes")
        for sentence in root(tree, "notes")
    ]


def entangled_encoder(tree: xr.DataTree) -> list[Finding]:
    """Name the modalities whose encoder carries others too."""
    return [
        Finding(
            "entangled_encoder",
            Verdict.YES,
            f"The signal of {shown(name)} carries other modalities too, so its numbers are not "
            f"its own: {one_line(why)}",
            modality=name,
            evidence="anatomy.entangled",
        )
        for name, why in root(tree, "anatomy").get("entangled", {}).items()
    ]
