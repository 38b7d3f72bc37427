"""The formulas of Gradient-Blending: weights of losses, and when they are estimated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from imbalance_lens import checks
from imbalance_lens.errors import SettingError


def blend_weights(
    generalization: Mapping[str, Tensor | float],
    overfitting: Mapping[str, Tensor | float],
    floor: float = 0.1,
    *,
    raw: bool = False,
) -> dict[str, Tensor]:
    """Return the weight of each head's loss, where the heads' overfitting is uncorrelated.

    Equation: w_i = G_i / O_i^2, divided by their sum (Wang et al., CVPR 2020, Prop. 1 and Alg. 1);
    floored, G_i is max(G_i, 0) and |O_i| is max(|O_i|, floor * max_k G_k), as a head that got
    worse would have a negative weight, and one that did not overfit an infinite one.

    Args:
        generalization: head -> what its held-out loss fell by, or its held-out accuracy rose by;
            the joint head is one of them.
        overfitting: head -> what the gap between held-out and training loss grew by.
        floor: smallest |O|, in parts of the largest G; above 0.
        raw: the paper's equation as it stands, without floors.

    Returns:
        head -> scalar, in float64; they sum to 1. Floored, none is negative, and all are equal
        where no head got better. NaN where a term is.

    Raises:
        SettingError: other heads in one mapping than in the other, none, or a floor that is not
            above 0.

    Example:
        >>> gained = {"rgb": 4.0, "audio": 1.5, "joint": 3.8}
        >>> paid = {"rgb": 0.5, "audio": 3.5, "joint": 1.4}
        >>> {name: round(w.item(), 4) for name, w in blend_weights(gained, paid).items()}
        {'rgb': 0.8859, 'audio': 0.0068, 'joint': 0.1073}
    """
    heads = _heads(generalization)
    if set(overfitting) != set(heads):
        raise SettingError(
            f"overfitting must have the heads {sorted(heads)}; got {sorted(overfitting)}."
        )
    checks.positive("floor", floor)
    gain, price = _stacked(generalization, heads), _stacked(overfitting, heads)
    if raw:
        weights = gain / price.square()
        return dict(zip(heads, weights / weights.sum(), strict=True))
    gain = gain.clamp_min(0)
    best = gain.max()
    # In parts of the best gain, or its square could be lost below the smallest number.
    parts = gain / best
    blend = parts / (price.abs() / best).clamp_min(floor).square()
    uniform = torch.full_like(gain, 1 / len(heads))
    weights = torch.where(best == 0, uniform, blend / blend.sum())
    poisoned = gain.sum() + price.sum()
    return dict(zip(heads, torch.where(poisoned.isnan(), torch.nan, weights), strict=True))


def correlated_weights(
    generalization: Mapping[str, Tensor | float], covariance: Tensor, *, signed: bool = False
) -> dict[str, Tensor]:
    """Return the weight of each head's loss, where the heads' overfitting may be correlated.

    Equation: w = S^-1 g, divided by its sum, minimizes w^T S w / (g^T w)^2, the squared
    overfitting-to-generalization ratio of the blend (Wang et al., CVPR 2020, appendix). Where that
    has negative entries, whose loss would be driven up, the best weights without such are given.

    Args:
        generalization: head -> g, what a step along its gradient gains.
        covariance: (heads, heads), S = E[O_i O_j] of what the steps overfit, in the mapping's
            order; positive definite.
        signed: give the optimum even where it has negative entries.

    Returns:
        head -> scalar, in float64; they sum to 1. All are equal where no head gains. NaN where a
        term is.

    Raises:
        SettingError: no head, or a covariance of another shape, or one that is not positive
            definite.

    Example:
        >>> overlap = torch.tensor([[1.0, 0.5], [0.5, 2.0]])
        >>> found = correlated_weights({"audio": 1.0, "joint": 2.0}, overlap)
        >>> {name: round(w.item(), 6) for name, w in found.items()}
        {'audio': 0.4, 'joint': 0.6}
    """
    heads = _heads(generalization)
    gain = _stacked(generalization, heads)
    overlap = covariance.detach().double()
    shape = (len(heads), len(heads))
    checks.shape("covariance", overlap, f"{shape}, as there are heads", overlap.shape == shape)
    if not torch.isfinite(torch.cat([gain, overlap.flatten()])).all():
        return dict.fromkeys(heads, torch.tensor(torch.nan, dtype=torch.float64))
    root, failed = torch.linalg.cholesky_ex(overlap)
    if failed:
        raise SettingError(
            "covariance must be positive definite, and a combination of heads has none of its "
            "own. Add a multiple of the identity, or take blend_weights."
        )
    best = torch.cholesky_solve(gain[:, None], root)[:, 0]
    if not signed and bool((best < 0).any()):
        best = _without_negative(gain, root)
    if best.abs().max() == 0 or (not signed and best.sum() == 0):
        best = torch.ones_like(gain)
    return dict(zip(heads, best / best.sum(), strict=True))


def super_epochs(epochs: int, first: int = 10, length: int = 5) -> list[tuple[int, int]]:
    """Return the stretches of a training in which the weights stay as they are.

    Wang et al., CVPR 2020, section 3.3: "an initial super-epoch size of 10 (for warmup), and a
    super-epoch size of 5 thereafter".

    Args:
        epochs: of the training.
        first: epochs of the first one.
        length: epochs of the others; the last one may be shorter.

    Returns:
        (first epoch, first epoch that is none of its) of each.

    Example:
        >>> super_epochs(22)
        [(0, 10), (10, 15), (15, 20), (20, 22)]
    """
    for name, value in (("epochs", epochs), ("first", first), ("length", length)):
        checks.whole(name, value)
    starts = [0, *range(first, epochs, length)]
    return list(zip(starts, [*starts[1:], epochs], strict=True))


def _without_negative(gain: Tensor, root: Tensor) -> Tensor:
    # Over a cone, the best direction of a quotient of a square and a quadratic form is that of a
    # least-squares problem: min |root^T w - root^-1 g|^2 over w >= 0.
    from scipy.optimize import nnls

    aim = torch.linalg.solve_triangular(root, gain[:, None], upper=False)[:, 0]
    found, _ = nnls(np.asarray(root.cpu().T), np.asarray(aim.cpu()))
    return torch.from_numpy(found).to(gain.device)


def _heads(generalization: Mapping[str, Tensor | float]) -> list[str]:
    if not generalization:
        raise SettingError("generalization names no head. Give one or more, the joint one too.")
    return list(generalization)


def _stacked(values: Mapping[str, Tensor | float], heads: list[str]) -> Tensor:
    return torch.stack([torch.as_tensor(values[name]).detach().double() for name in heads])
