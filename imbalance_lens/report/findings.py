"""What a report finds: the type of a finding, and every threshold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """Whether the thing that a rule looks for is there."""

    YES = "yes"
    NO = "no"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Finding:
    """The answer of one rule.

    Attributes:
        rule: name of the rule, such as "dominance".
        verdict: whether what the rule looks for is there.
        sentence: the answer in plain words, with its numbers.
        modality: the one that is meant, or "".
        value: the number that decided, or None.
        interval: its low and high end, or None where it has none.
        threshold: what the number was compared with, or None.
        evidence: where the number stands: "probe.variable", or "attribute.key" of the root.

    Example:
        >>> Finding("few_examples", Verdict.YES, "Only 12 examples.", value=12.0).as_dict()["value"]
        12.0
    """

    rule: str
    verdict: Verdict
    sentence: str
    modality: str = ""
    value: float | None = None
    interval: tuple[float, float] | None = None
    threshold: float | None = None
    evidence: str = ""

    @property
    def title(self) -> str:
        """What the rule looks for, in words."""
        return _TITLES.get(self.rule, self.rule)

    def as_dict(self) -> dict[str, Any]:
        """Return plain text and numbers only, ready for JSON."""
        interval = None if self.interval is None else list(self.interval)
        return {**asdict(self), "verdict": str(self.verdict), "interval": interval}


_TITLES = {
    "not_identifiable": "unreadable modality",
    "unused_modality": "unused modality",
    "underused_encoder": "under-used encoder",
    "undertrained_encoder": "under-trained encoder",
    "logit_scale": "logits of unequal length",
    "dead_capacity": "dead capacity",
    "overfitting_modality": "overfitting modality",
    "conflicting_gradients": "conflicting gradients",
    "training_lead": "lead in training",
    "overconfident_modality": "overconfidence",
    "no_interaction": "fusion without interaction",
    "nonfinite_logits": "logits that are not finite",
    "entangled_encoder": "entangled encoder",
    "few_examples": "few examples",
}


class Threshold(NamedTuple):
    """A bound that a rule compares with, and what lies beyond it."""

    value: float
    meaning: str


THRESHOLDS = MappingProxyType(
    {
        "dominance_gap": Threshold(
            0.05, "a modality is ahead by more accuracy than this, or two are level within it"
        ),
        "unused_drop": Threshold(0.01, "leaving a modality out changes the accuracy by less"),
        "unused_effect": Threshold(
            1e-6, "leaving a modality out moves the logits by less, in units of their spread"
        ),
        "constant_spread": Threshold(
            1e-6, "the logits of a modality alone vary less, in units of the joint logits' spread"
        ),
        "underused_gap": Threshold(
            0.05, "a linear classifier gets more accuracy from features than the model's own logits"
        ),
        "undertrained_gap": Threshold(
            0.05, "a model of one modality is further ahead of what can be read from the features"
        ),
        "logit_norm_ratio": Threshold(
            2.0, "the logits of one modality are more times as long as another's"
        ),
        "abnormal_share": Threshold(
            0.01, "more of an encoder's BatchNorm channels than this are abnormal"
        ),
        "abnormal_alive": Threshold(
            0.5, "more of the abnormal channels than this are alive on data, which clears them"
        ),
        "dead_share": Threshold(0.25, "more of an encoder's channels than this are dead on data"),
        "overfit_ratio": Threshold(
            2.0, "the overfitting-to-generalization ratio is more times as high as any other's"
        ),
        "overfit_least": Threshold(
            0.1, "a lower overfitting-to-generalization ratio counts as no overfitting"
        ),
        "conflict_errors": Threshold(
            3.0, "standard errors around a mean cosine that make its interval"
        ),
        "training_lead": Threshold(
            1.25, "the score of one modality in training is more times as high as any other's"
        ),
        "calibration_error": Threshold(
            0.1, "the expected calibration error is larger, beyond what chance makes of it"
        ),
        "interaction_gap": Threshold(
            0.01, "taking out all interaction changes the accuracy by less"
        ),
        "few_examples": Threshold(100, "with fewer examples the intervals are wide"),
        "interval_examples": Threshold(20, "with fewer examples no verdict rests on an interval"),
    }
)
"""Every number that a rule compares with; docs/findings.md shows the same table."""


def threshold(name: str) -> float:
    """Return the value of a threshold."""
    return THRESHOLDS[name].value
