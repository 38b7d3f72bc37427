"""Scores: how well logits fit the labels."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast
from .logits import true_class_logit


def label_confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each example's softmax probability of its true class.

    Equation: s_i = softmax(z_i)[y_i] (Wei et al., TPAMI 2024, eq. 6).

    Args:
        logits: (batch, classes); half precision is raised to single before the softmax.
        labels: (batch,) class indices, 0 <= label < classes.

    Returns:
        (batch,) between 0 and 1; NaN where a logit is NaN or the label is no class. The sum
        over a batch is the modality's score in `discrepancy_ratio`.

    Raises:
        BatchError: the shapes do not fit, or the labels are not integers.

    Example:
        >>> label_confidence(torch.tensor([[0.0, 0.0], [0.0, 100.0]]), torch.tensor([0, 1]))
        tensor([0.5000, 1.0000])
    """
    checks.logits_and_labels(logits, labels)
    return true_class_logit(upcast(logits).softmax(1), labels)


def label_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logarithm of each example's softmax probability of its true class.

    Equation: log softmax(z_i)[y_i], the negative of the cross-entropy. It is finite where the
    probability itself is too small for a floating-point number.

    Args:
        logits: (batch, classes); half precision is raised to single before the softmax.
        labels: (batch,) class indices, 0 <= label < classes.

    Returns:
        (batch,) in nats, 0 or less; NaN where a logit is NaN or the label is no class.

    Raises:
        BatchError: the shapes do not fit, or the labels are not integers.

    Example:
        >>> label_log_probability(torch.tensor([[0.0, 0.0], [0.0, 200.0]]), torch.tensor([0, 0]))
        tensor([  -0.6931, -200.0000])
    """
    checks.logits_and_labels(logits, labels)
    return true_class_logit(upcast(logits).log_softmax(1), labels)


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Tell which examples are classified correctly.

    Equation: argmax_c z_ic = y_i. Of equal largest logits the first class counts.

    Args:
        logits: (batch, classes).
        labels: (batch,) class indices.

    Returns:
        (batch,) bool; an example with a NaN among its logits counts as wrong.

    Raises:
        BatchError: the shapes do not fit, or the labels are not integers.

    Example:
        >>> correct(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0]))
        tensor([ True, False])
    """
    checks.logits_and_labels(logits, labels)
    checks.class_indices(labels)
    # To argmax a NaN is larger than anything, so it would "win" its class.
    return (logits.argmax(1) == labels) & ~torch.isnan(logits).any(1)
