"""Integrated gradients of any function of tensors, by captum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def integrated_gradients(
    function: Callable[..., Tensor], points: Sequence[Tensor], steps: int
) -> tuple[Tensor, ...]:
    """Return how much each entry adds to a function on the straight way from zero to the points.

    Equation: x_i times the integral over a in [0, 1] of d f(a x) / d x_i (Sundararajan, Taly and
    Yan, ICML 2017, eq. 1), by Gauss-Legendre quadrature. All entries together add f(x) - f(0).

    Args:
        function: takes tensors of the points' shapes; gives one number per example.
        points: x, floating point.
        steps: of the quadrature; the function and its gradient are evaluated once for each.

    Returns:
        One tensor for each of the points, of its shape; 0 where the function ignores it.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(function)
    # captum's own refuses inputs that the function ignores
    method.gradient_func = _gradients  # pyright: ignore[reportAttributeAccessIssue]
    # Several steps in one call would be a batch that is larger than the model has ever seen.
    return method.attribute(
        tuple(point.detach() for point in points), n_steps=steps, internal_batch_size=len(points[0])
    )


def _gradients(forward_fn: Callable[..., Tensor], inputs: Sequence[Tensor], **_: Any) -> Any:
    with torch.enable_grad():
        answer = forward_fn(*inputs)
        if not answer.requires_grad:  # it left torch, or ignores everything
            return tuple(map(torch.zeros_like, inputs))
        return torch.autograd.grad(answer.sum(), inputs, allow_unused=True, materialize_grads=True)
