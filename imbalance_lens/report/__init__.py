"""What was measured, what follows from it, and what may help: from datasets to words."""

from .findings import THRESHOLDS, Finding, Threshold, Verdict
from .recommend import Recommendation
from .report import Report, load_report

__all__ = [
    "THRESHOLDS",
    "Finding",
    "Recommendation",
    "Report",
    "Threshold",
    "Verdict",
    "load_report",
]
