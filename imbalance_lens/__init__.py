"""Find out which modality dominates a multimodal PyTorch model, and why.

Everything below is imported when it is first used, so that `import imbalance_lens` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .anatomy import Anatomy, explain, find_anatomy
    from .attributions import attribute_inputs
    from .checkpoints import load_weights
    from .comparison import compare_checkpoints
    from .diagnosis import diagnose
    from .epochs import over_epochs
    from .filters import scan_filters
    from .hooks.clock import every, log_spaced
    from .lens import Lens
    from .maps import feature_maps
    from .probes.abnormal_batchnorm import scan_checkpoint
    from .report import Report, load_report

__version__ = "0.1.0"

_HOME = {
    "Anatomy": ".anatomy",
    "explain": ".anatomy",
    "find_anatomy": ".anatomy",
    "attribute_inputs": ".attributions",
    "load_weights": ".checkpoints",
    "compare_checkpoints": ".comparison",
    "diagnose": ".diagnosis",
    "Lens": ".lens",
    "feature_maps": ".maps",
    "over_epochs": ".epochs",
    "scan_checkpoint": ".probes.abnormal_batchnorm",
    "scan_filters": ".filters",
    "Report": ".report",
    "load_report": ".report",
    "every": ".hooks.clock",
    "log_spaced": ".hooks.clock",
}
__all__ = [
    "Anatomy",
    "Lens",
    "Report",
    "attribute_inputs",
    "compare_checkpoints",
    "diagnose",
    "every",
    "explain",
    "feature_maps",
    "find_anatomy",
    "load_report",
    "load_weights",
    "log_spaced",
    "over_epochs",
    "scan_checkpoint",
    "scan_filters",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
