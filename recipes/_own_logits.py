"""What each modality contributes to the logits of a training batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from imbalance_lens import formulas
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind, device_of

from ._base import Run, Seen


def shapley_logits(values: Mapping[frozenset[str], Tensor]) -> dict[str, Tensor]:
    """Share a model's logits out among its modalities.

    Equation: the Shapley values of the logits, where those of no modality at all count as 0; for
    two, phi_a = (v(av) - v(v) + v(a)) / 2 (Li et al., ICCV 2023).

    Args:
        values: v(S), (batch, classes), for each set of one modality or more.

    Returns:
        modality -> (batch, classes); their sum is v(all).

    Raises:
        SettingError: the logits of a set are missing.

    Example:
        >>> v = {"a": [1.0, 0.0], "v": [0.2, 0.6], "av": [1.5, 0.3]}
        >>> shapley_logits({frozenset(who): torch.tensor([logits]) for who, logits in v.items()})
        {'a': tensor([[ 1.1500, -0.1500]]), 'v': tensor([[0.3500, 0.4500]])}
    """
    nothing = {frozenset[str](): torch.zeros_like(next(iter(values.values())))}
    return formulas.shapley_values(nothing | dict(values))


@torch.no_grad()
def contributions(run: Run, seen: Seen, inputs: Any) -> dict[str, Tensor]:
    """Return each modality's share of the logits of a training batch, without a graph.

    A linear head over the concatenated features is split, which is the same and needs no pass.
    Any other model is run once more, in eval mode, and its fusion and head 2^M - 1 times, with
    zeros for the features of those who are absent.

    Args:
        run: of the training.
        seen: of the micro-batch.
        inputs: of the micro-batch.
    """
    if run.fusion is not None and run.fusion.is_head:
        return run.fusion.logits(run.model, seen.features)
    with Replayer(run.model, run.anatomy, logits_of=run.logits_of) as replayer:
        replay = replayer.capture(bind(run.model, inputs).to(device_of(run.model)))
        sets = [members for members in formulas.coalitions(run.modalities) if members]
        return shapley_logits({members: replay.logits(members) for members in sets})
