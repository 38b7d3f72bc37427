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
_BLENDING = "Wang et al., CVPR 2020"
_LOGITS = "Zong et al., IJCAI 2024"
_PARETO = "Wei and Hu, ICML 2024"


@dataclass(frozen=True)
class Recommendation:
    """What to try next.

    Attributes:
        recipe: name of the recipe, for `recipes.apply`; "" for advice that is none.
        modality: the one that gives rise to it, or "".
        reason: why, and what it does, in plain words.
        evidence: where the deciding number stands, as in the finding.
        paper: the work that says so, or "".
        rule: the rule whose finding gives rise to it.
    """

    recipe: str
    modality: str
    reason: str
    evidence: str
    paper: str = ""
    rule: str = ""

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
        "training_lead",
        "ogm_ge",
        "Slow down the encoder of {modality}, which is ahead in training, by how far it is ahead.",
        _MODULATION,
    ),
    _Advice(
        "undertrained_encoder",
        "mlb",
        "Give every modality a loss of its own, and speed up the encoder of {modality}, which "
        "learns less here than it does alone.",
        _MULTI_LOSS,
    ),
    _Advice(
        "undertrained_encoder",
        "ogm_ge",
        "Slow down whichever encoder is ahead at a step, so that there is something left to learn "
        "for that of {modality}: nobody has to dominate in the end for it to lag behind.",
        _MODULATION,
    ),
    _Advice(
        "underused_encoder",
        "mlb",
        "Give every modality a loss of its own, so that the others cannot answer in place of "
        "{modality}, whose encoder knows more than the model reads from it.",
        _MULTI_LOSS,
    ),
    _Advice(
        "undertrained_encoder",
        "fust",
        "Train every encoder alone first, which is where that of {modality} learned more; then all "
        "together, hiding parts of the inputs where another modality is surer.",
        _PRETRAINING,
    ),
    _Advice(
        "underused_encoder",
        "fust",
        "Build on what the encoder of {modality} knows, pre-trained as it may be: train every "
        "encoder alone first, then all together, hiding parts of the inputs where another "
        "modality is surer.",
        _PRETRAINING,
    ),
    _Advice(
        "logit_scale",
        "olm",
        "Even out the lengths of the logits while training: those of {modality} are the longest.",
        _LOGITS,
    ),
    _Advice(
        "dead_capacity",
        "abri",
        "Revive the encoder of {modality}, part of which is dead: mix its BatchNorm layers with "
        "fresh ones, and train on.",
        _PRETRAINING,
    ),
    _Advice(
        "overfitting_modality",
        "g_blend",
        "Give every modality a loss of its own, and less weight to the more it overfits: "
        "{modality} does so most.",
        _BLENDING,
    ),
    _Advice(
        "conflicting_gradients",
        "",
        "Combine the gradients of the joint loss and of a loss of its own on the encoder of "
        "{modality}, so that a step sets neither back.",
        _PARETO,
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
    given: dict[tuple[str, str], Recommendation] = {}
    for advice in _TABLE:
        for finding in found:
            if finding.rule != advice.rule or _is_out_of_place(advice, finding, found):
                continue
            reason = advice.reason.format(
                modality=shown(finding.modality), other_fill=_another_fill(tree)
            )
            made = Recommendation(
                advice.recipe, finding.modality, reason, finding.evidence, advice.paper, advice.rule
            )
            given.setdefault((advice.recipe or advice.rule, finding.modality), made)
    return tuple(given.values())


def _is_out_of_place(advice: _Advice, finding: Finding, found: Iterable[Finding]) -> bool:
    """Whether advice was seen to do harm here, or is given for a stronger reason already.

    Where modalities are unequal, reviving only the weaker encoder did better than reviving both
    (Feng et al., Tables 4, 10 and 11).
    """
    dominant = {other.modality for other in found if other.rule == "dominance"}
    if advice.recipe == "abri":
        return not finding.modality or finding.modality in dominant
    return bool(dominant) and advice.rule != "dominance" and advice.recipe in _AGAINST_DOMINANCE


_AGAINST_DOMINANCE = {advice.recipe for advice in _TABLE if advice.rule == "dominance"}
"""Where a modality dominates, these are aimed at it, and not at those that lag behind."""


def _another_fill(tree: xr.DataTree) -> str:
    ds = measured(tree, "zero_out")
    if ds is None or settings(ds).get("fill", "zero") != "zero":
        return ""
    return "diagnose with ZeroOut(fill='mean'), or "
