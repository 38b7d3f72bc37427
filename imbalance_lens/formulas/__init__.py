"""Every equation of the library as a function of tensors: torch and the standard library only.

Nothing here knows a module, a hook or a dataset. Mappings are keyed by modality, two or more.
"""

from .activations import constant_activations, dead_rate
from .batchnorm import CRITERIA, abnormal_channels, constant_channels, dead_probability
from .coalitions import additivity_gap, coalitions, shapley_values
from .discrepancy import discrepancy_ratio
from .logits import centered_logit_norm, logit_norm, split_logits, true_class_logit
from .overfitting import overfitting_to_generalization
from .running import ClassSums, Moments
from .scores import correct, label_confidence

__all__ = [
    "CRITERIA",
    "ClassSums",
    "Moments",
    "abnormal_channels",
    "additivity_gap",
    "centered_logit_norm",
    "coalitions",
    "constant_activations",
    "constant_channels",
    "correct",
    "dead_probability",
    "dead_rate",
    "discrepancy_ratio",
    "label_confidence",
    "logit_norm",
    "overfitting_to_generalization",
    "shapley_values",
    "split_logits",
    "true_class_logit",
]
