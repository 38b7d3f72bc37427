"""Additive projections: the best that a model could say without combining two inputs."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from .. import checks
from ..errors import SettingError
from ._precision import upcast


def additive_projection(shifted: Iterable[Tensor]) -> Tensor:
    """Return the sum of one function of each of two inputs that is closest to the logits.

    Equation: f_i = mean_j f(a_i, v_j) + mean_j f(a_j, v_i) - mean_jk f(a_j, v_k), the empirical
    multimodally-additive projection of Hessel and Lee (EMNLP 2020). Of all sums of a
    function of a and a function of v, it has the least squared distance to f over all pairs.

    Args:
        shifted: n tensors (n, classes) of logits: row i of number d is f(a_i, v_j) with
            j = (i + d) mod n. They may be made one at a time, since none is kept.

    Returns:
        (n, classes) in logits, in double precision: row i is the projection at (a_i, v_i). It is
        the first tensor itself, up to rounding, where the logits are a sum of one part per input.

    Raises:
        SettingError: not n tensors (n, classes).

    Example:
        >>> import torch
        >>> a, v = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [5.0]])
        >>> additive_projection([a + v, a + v.roll(-1, 0)])
        tensor([[3.],
                [6.]], dtype=torch.float64)
        >>> additive_projection([a * v, a * v.roll(-1, 0)])
        tensor([[-0.5000],
                [ 4.5000]], dtype=torch.float64)
    """
    pairs = enumerate(upcast(logits).double() for logits in shifted)
    first = next(pairs, None)
    if first is None:
        raise SettingError("shifted must hold at least one tensor (n, classes); got none.")
    rows = first[1]
    checks.shape("shifted[0]", rows, "(n, classes)", rows.ndim == 2)
    columns, seen = rows, 1
    for shift, logits in pairs:
        wanted = f"{tuple(rows.shape)}, as the first"
        checks.shape(f"shifted[{shift}]", logits, wanted, logits.shape == rows.shape)
        rows = rows + logits
        columns = columns + logits.roll(shift, 0)  # so that row j holds what v_j was paired with
        seen += 1
    if seen != len(rows):
        raise SettingError(
            f"shifted must hold {len(rows)} tensors, one per row, so that all pairs are there; "
            f"got {seen}."
        )
    rows, columns = rows / seen, columns / seen
    return rows + columns - rows.mean(0)
