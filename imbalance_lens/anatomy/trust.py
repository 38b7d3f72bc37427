"""Whether a replay can be trusted: what to test before its numbers are used."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from ..errors import AnatomyError
from ..trees import map_tensors
from .replay import Replay


def check_replay(replay: Replay, *, tolerance: float = 1e-4) -> None:
    """Complain unless the replay with all modalities present gives the model's own logits.

    Args:
        replay: of the model's own pass.
        tolerance: relative to the largest logit, or to 1 where that is smaller.

    Raises:
        AnatomyError: it does not; the model is random or keeps state in eval mode.
    """
    again = replay.logits_of(replay.rerun(replay.modalities))
    own = replay.logits_all
    scale = float(own.abs().max().clamp_min(1.0).nan_to_num())
    if not torch.allclose(again, own, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        gap = float((again - own).abs().max())
        raise AnatomyError(
            "Replaying the encoders' outputs does not give the model's own logits (difference "
            f"{gap:.3g}): in eval mode the model is random or keeps state between passes. Make it "
            "deterministic, or score at the inputs with sites={modality: ('input:name',)}."
        )


def bypassing_inputs(replay: Replay) -> tuple[str, ...]:
    """Return the inputs that reach the logits past every site, by exchanging examples.

    Inputs that are sites themselves are not asked, and a batch of one has nothing to exchange.
    """
    asked = [name for name in replay.call.inputs if name not in replay.claimed_inputs]
    asked = asked if replay.examples > 1 else []
    if not asked or _leak(asked, replay) is False:
        return ()
    return tuple(name for name in asked if _leak([name], replay))


def _leak(names: Collection[str], replay: Replay) -> bool | None:
    """Say whether exchanged inputs change the logits; None where the model refuses them."""

    def roll(tensor: Tensor) -> Tensor:
        return tensor.roll(1, 0) if tensor.ndim and len(tensor) == replay.examples else tensor

    rolled = {name: map_tensors(roll, replay.call.inputs[name]) for name in names}
    try:
        output = replay.rerun(replay.modalities, call=replay.call.with_inputs(rolled))
    except Exception:  # a model may refuse unsorted lengths, say, with any error of its own
        return None
    return not torch.equal(replay.logits_of(output).nan_to_num(), replay.logits_all.nan_to_num())
