"""Leaving out patches of the inputs that feed a modality, wherever in a batch they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from imbalance_lens.anatomy.leaves import leaves
from imbalance_lens.batches import bind
from imbalance_lens.errors import NotApplicableError
from imbalance_lens.trees import carries_signal, map_tensors

from .._base import Run
from .patches import Extent, masked, usual_patches


def with_patches_masked(
    run: Run,
    inputs: Any,
    ratios: Mapping[str, Tensor],
    patches: Mapping[str, Sequence[Extent]],
) -> Any:
    """Return a batch's inputs, of which some modalities have random patches left out.

    Args:
        run: of the training.
        inputs: of a batch; not changed.
        ratios: modality -> (batch,) share of the patches that is left out.
        patches: modality -> its extents; where there are none, what its shape tells.

    Raises:
        NotApplicableError: it is not known what feeds a modality, or nothing of it can be masked.
        SettingError: the patches do not fit.
    """
    tensors = leaves(bind(run.model, inputs))
    exchanged: dict[int, Tensor] = {}
    for modality, ratio in ratios.items():
        feeding = run.anatomy.inputs.get(modality, (modality,))
        own = [
            tensor
            for leaf, held in tensors.items()
            if any(leaf == name or leaf.startswith(f"{name}.") for name in feeding)
            for tensor in held
        ]
        signals = [t for t in own if carries_signal(t) and t.ndim > 1 and len(t) == len(ratio)]
        if not signals:
            raise NotApplicableError(_nothing_to_mask(modality, own, tensors))
        for tensor in signals:
            extents = patches.get(modality) or usual_patches(tensor.shape[1:])
            there = ratio.to(tensor.device, non_blocking=True)
            exchanged[id(tensor)] = masked(tensor, there, extents)
    return map_tensors(lambda tensor: exchanged.get(id(tensor), tensor), inputs)


def _nothing_to_mask(modality: str, own: list[Tensor], known: Mapping[str, Any]) -> str:
    if not own:
        return (
            f"It is not known which inputs feed {modality!r}; there are "
            f"{', '.join(map(repr, known))}. Pass anatomy=Anatomy(..., "
            f"inputs={{{modality!r}: ('name',)}})."
        )
    held = ", ".join(f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in own)
    return (
        f"The inputs of {modality!r} ({held}) hold no numbers of which 0 says nothing, with the "
        f"examples first. Embed them before the model, or leave them whole: rho={{{modality!r}: "
        "0, ...}."
    )
