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
