"""Which dimension of features counts the examples, where their shape alone does not tell."""

from __future__ import annotations

from imbalance_lens.anatomy.replay import Replay


def steps_first(replay: Replay) -> frozenset[str]:
    """Return the modalities whose features are (steps, batch, width), as recurrent layers give it.

    With as many steps as examples, it is tried out: what belongs to one example moves its logits
    and nobody else's. Features that the model does not use are taken for (batch, steps, width).
    """
    batch = replay.examples
    return frozenset(
        modality
        for modality, features in replay.features.items()
        if features.ndim == 3
        and features.shape[1] == batch
        and (len(features) != batch or _is_a_column_an_example(replay, modality))
    )


def _is_a_column_an_example(replay: Replay, modality: str) -> bool:
    features, *others = replay.signals[modality]
    moved = features.clone()
    moved[:, 0] += 1
    before, after = (replay.fuse({modality: [first, *others]}) for first in (features, moved))
    changed = (before != after).any(1)
    return bool(changed[0]) and not bool(changed[1:].any())
