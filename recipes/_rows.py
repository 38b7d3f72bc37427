"""Which dimension of features counts the examples, where their shape alone does not tell."""

from __future__ import annotations

from imbalance_lens.anatomy.replay import Replay


def steps_first(replay: Replay) -> frozenset[str]:
    """Return the modalities whose features are (steps, batch, width), as recurrent layers give it.

    With as many steps as examples, it is tried out: what belongs to one example moves its logits
    and nobody else's. Features that the model does not use are taken for (batch, steps, width), and
    so is a single step of a single example.
    """
    batch = replay.examples
    return frozenset(
        modality
        for modality, features in replay.features.items()
        if features.ndim == 3
        and features.shape[1] == batch
        and (len(features) != batch or (batch > 1 and _are_columns_examples(replay, modality)))
    )


def _are_columns_examples(replay: Replay, modality: str) -> bool:
    features, *others = replay.signals[modality]
    before = replay.fuse({modality: [features, *others]})
    for column in (0, replay.examples - 1):  # where steps are padded, one of these is in all rows
        moved = features.clone()
        moved[:, column] += 1
        changed = (before != replay.fuse({modality: [moved, *others]})).any(1)
        if not changed[column] or changed.sum() > 1:
            return False
    return True
