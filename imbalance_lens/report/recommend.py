"""From findings to what may help: one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .findings import Finding, Verdict
from .reading import measured, settings
from .words import shown

if TYPE_CHECKING:
    import xarray as xr

_MODULATION = "Wei et al., TPAMI 2024"
_MULTI_LOSS = "Kontras et al., BMVC 2024"
_PRETRAINING = "Feng et al., 2023"


@dataclass(frozen=True)
class Recommendation:
    """What to try next.

    Attributes:
        recipe: name of the recipe, for `recipes.apply`; "" for advice that is none.
        modality: the one that gives rise to it, or "".
        reason: why, and what it does, in plain words.
        evidence: where the deciding number stands, as in the finding.
        paper: the work that says so, or "".
    """

    recipe: str
    modality: str
    reason: str
    evidence: str
    paper: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain text only, ready for JSON."""
        return asdict(self)


class _Advice(NamedTuple):
    rule: str
    recipe: str
    reason: str
    paper: str = ""


_TABLE = (
    _Advice(
        "dominance",
        "ogm_ge",
        "Slow down the encoder of {modality}, which dominates: scale its gradients down for as "
        "long as it is ahead, and add noise to them.",
        _MODULATION,
    ),
    _Advice(
        "dominance",
        "opm",
        "Make the others answer: drop the features of {modality}, which dominates, and the more "
        "often the further it is ahead.",
        _MODULATION,
    ),
    _Advice(
        "dominance",
        "mlb",
        "Give every modality a loss of its own, slow down the encoder of {modality}, which "
        "dominates, and speed up those behind.",
        _MULTI_LOSS,
    ),
    _Advice(
        "dead_capacity",
        "abri",
        "Revive the encoder of {modality}, part of which is dead: mix its BatchNorm layers with "
        "fresh ones, and train on.",
        _PRETRAINING,
    ),
    _Advice(
        "not_identifiable",
        "",
        "Let {modality} be heard alone: {other_fill}train a head on its encoder, and pass it to "
        "diagnose as heads=...",
    ),
    _Advice(
        "unused_modality",
        "",
        "Train the encoder of {modality}, which is ignored, alone. If it learns, the joint "
        "training holds it back; if it does not, look at its data.",
    ),
)
"""Only a verdict of "yes" recommends anything."""


def recommend(findings: Sequence[Finding], tree: xr.DataTree) -> tuple[Recommendation, ...]:
    """Return what may help against what was found, the most direct first.

    Args:
        findings: of all rules.
        tree: the report's; says how absent features were filled.
    """
    found = [finding for finding in findings if finding.verdict is Verdict.YES]
    return tuple(
        Recommendation(
            advice.recipe,
            finding.modality,
            advice.reason.format(modality=shown(finding.modality), other_fill=_another_fill(tree)),
            finding.evidence,
            advice.paper,
        )
        for advice in _TABLE
        for finding in found
        if finding.rule == advice.rule and not _harms(advice.recipe, finding, found)
    )


def _harms(recipe: str, finding: Finding, found: Iterable[Finding]) -> bool:
    """Whether a recipe was seen to do worse here.

    Where modalities are unequal, reviving only the weaker encoder did better than reviving both
    (Feng et al., Tables 4, 10 and 11).
    """
    dominant = {other.modality for other in found if other.rule == "dominance"}
    return recipe == "abri" and (not finding.modality or finding.modality in dominant)


def _another_fill(tree: xr.DataTree) -> str:
    ds = measured(tree, "zero_out")
    if ds is None or settings(ds).get("fill", "zero") != "zero":
        return ""
    return "diagnose with ZeroOut(fill='mean'), or "
