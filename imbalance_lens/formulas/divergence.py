"""Divergence: how far two answers to one question are apart, without knowing the true one."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast


def kl_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """Return how much of each example's answer is lost when another answer stands in for it.

    Equation: KL(p || q) = sum_c p_c (log p_c - log q_c) of the two softmaxes (Kullback and
    Leibler, 1951). A class that p rules out adds nothing.

    Args:
        logits: (batch, classes), the answers.
        other: (batch, classes), what stands in for them.

    Returns:
        (batch,) in nats, 0 for the same answer; infinite where the other one rules out what the
        answer does not, NaN where one of them has no softmax.

    Raises:
        SettingError: the shapes are not (batch, classes) or differ.

    Example:
        >>> kl_divergence(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[5.0, 0.0]] * 2))
        tensor([1.8136, 0.7692])
    """
    checks.shape("logits", logits, "(batch, classes)", logits.ndim == 2)
    checks.shape("other", other, f"{tuple(logits.shape)}", other.shape == logits.shape)
    log_p, log_q = upcast(logits).log_softmax(1), upcast(other).log_softmax(1)
    terms = torch.where(log_p == -torch.inf, 0, log_p.exp() * (log_p - log_q))
    # Unsure of its last bits, a sum of almost nothing may come out below nothing.
    return terms.sum(1).clamp_min(0)
