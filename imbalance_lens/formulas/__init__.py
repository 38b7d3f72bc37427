"""Every equation of the library as a function of tensors: torch and the standard library only.

Nothing here knows a module, a hook or a dataset. Mappings are keyed by modality, two or more.
"""

from .activations import constant_activations, dead_rate
from .additive import additive_projection
from .arrivals import antithetic_orders, arrival_gains, arrivals
from .batchnorm import CRITERIA, abnormal_channels, constant_channels, dead_probability
from .calibration import Reliability, expected_calibration_error, top_confidence
from .coalitions import additivity_gap, coalitions, shapley_values
from .discrepancy import discrepancy_ratio
from .divergence import kl_divergence
from .gradients import cosine
from .interactions import cooperation, shapley_interactions
from .logits import centered_logit_norm, logit_norm, split_logits, true_class_logit
from .missing import presence_probability
from .overfitting import gradient_overfitting, overfitting_to_generalization
from .running import ClassSums, Moments
from .scores import correct, label_confidence, label_log_probability
from .shares import magnitude_shares

__all__ = [
    "CRITERIA",
    "ClassSums",
    "Moments",
    "Reliability",
    "abnormal_channels",
    "additive_projection",
    "additivity_gap",
    "antithetic_orders",
    "arrival_gains",
    "arrivals",
    "centered_logit_norm",
    "coalitions",
    "constant_activations",
    "constant_channels",
    "cooperation",
    "correct",
    "cosine",
    "dead_probability",
    "dead_rate",
    "discrepancy_ratio",
    "expected_calibration_error",
    "gradient_overfitting",
    "kl_divergence",
    "label_confidence",
    "label_log_probability",
    "logit_norm",
    "magnitude_shares",
    "overfitting_to_generalization",
    "presence_probability",
    "shapley_interactions",
    "shapley_values",
    "split_logits",
    "top_confidence",
    "true_class_logit",
]
