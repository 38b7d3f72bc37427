"""The losses of unimodal heads."""

from __future__ import annotations

from torch import Tensor

from imbalance_lens.errors import SettingError

from ._base import Run, Seen


def head_losses(run: Run, seen: Seen) -> dict[str, Tensor]:
    """Return each head's mean loss over the micro-batch, by the function of the joint loss.

    Raises:
        SettingError: a head gives another number of logits than the model.
    """
    return {
        name: run.loss(_like_the_model_s(name, logits, seen.logits), seen.labels)
        for name, logits in seen.modality_logits.items()
    }


def plus(loss: Tensor, others: dict[str, Tensor]) -> Tensor:
    """Return the sum of a loss and of each modality's, all with weight 1."""
    for other in others.values():
        loss = loss + other
    return loss


def _like_the_model_s(name: str, logits: Tensor, joint: Tensor) -> Tensor:
    if logits.numel() != joint.numel():
        raise SettingError(
            f"The head of {name!r} gives {tuple(logits.shape)} for a batch of which the model "
            f"gives {tuple(joint.shape)}. Give a head with as many outputs per example."
        )
    return logits.reshape(joint.shape)  # a regression's may be (batch,), as its labels are
