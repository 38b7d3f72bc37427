"""What a training in two stages costs, in floating-point operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from imbalance_lens import checks
from imbalance_lens.anatomy import Anatomy
from imbalance_lens.batches import bind, device_of
from imbalance_lens.hooks.frozen import frozen
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.passes import who_is_who

_FORWARDS_OF_A_STEP = 3
"""A forward and its backward, which costs about two."""


def flops_ratio(
    joint: float,
    unimodal: Mapping[str, float],
    *,
    unimodal_epochs: int | Mapping[str, int],
    fusion_epochs: int,
    joint_epochs: int,
    measured: bool = False,
) -> float:
    """Return how much more the two stages cost than joint training.

    Equation: (sum_m E_m F_m + E_2 F) / (E F), with the operations F of the whole model and F_m of
    each encoder, and the epochs E of joint training, E_m of the first stage and E_2 of the second
    (Feng et al., 2023, Table 8).

    Args:
        joint: operations of the whole model, of one example or of one epoch.
        unimodal: modality -> those of its encoder alone, of as much.
        unimodal_epochs: of the first stage, one number or modality -> its own.
        fusion_epochs: of the second stage.
        joint_epochs: of the joint training that is compared with.
        measured: whether the pass that measures confidences after each epoch of the first stage
            counts too, as a third of an epoch; the paper's table leaves it out.

    Example:
        >>> encoders = {"audio": 4.77e9, "visual": 5.48e9}  # Kinetics-Sounds
        >>> epochs = {"audio": 40, "visual": 80}
        >>> round(flops_ratio(1.02e10, encoders, unimodal_epochs=epochs, fusion_epochs=20,
        ...                   joint_epochs=60), 2)
        1.36
    """
    if not isinstance(unimodal_epochs, Mapping):
        unimodal_epochs = dict.fromkeys(unimodal, unimodal_epochs)
    checks.same_modalities("unimodal_epochs", unimodal_epochs, unimodal)
    share = 1 + measured / _FORWARDS_OF_A_STEP
    first = sum(share * unimodal_epochs[name] * own for name, own in unimodal.items())
    return (first + fusion_epochs * joint) / (joint_epochs * joint)


def count_flops(
    model: nn.Module, inputs: Any, *, anatomy: Anatomy | Mapping[str, str] | None = None
) -> tuple[float, dict[str, float]]:
    """Count the operations of a forward, of the whole model and of each encoder.

    Counted by `torch.utils.flop_counter`, which knows matrix products, convolutions and attention;
    the model is frozen meanwhile.

    Args:
        model: any model.
        inputs: of one batch.
        anatomy: as `recipes.apply` takes it.

    Returns:
        The operations of the whole batch, and modality -> those in its encoder; of a layer that
        several modalities use, all of them count for each.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> inputs, labels = next(iter(loader))
        >>> count_flops(model, inputs)
        (4096.0, {'audio': 1024.0, 'visual': 1024.0})
    """
    inner = unwrap(model)
    who = who_is_who(inner, anatomy, inputs)
    call = bind(inner, inputs).to(device_of(inner))
    with frozen(inner), FlopCounterMode(display=False) as counter:
        call(inner)
    counts = counter.get_flop_counts()
    root = type(inner).__name__
    parts = {
        name: sum(sum(counts.get(f"{root}.{path}", {}).values()) for path in who.parts[name])
        for name in who.modalities
    }
    return float(sum(counts["Global"].values())), {name: float(n) for name, n in parts.items()}
