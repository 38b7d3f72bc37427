"""Logits: how large they are, and which part of them each modality gives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .. import checks
from ._precision import upcast


def true_class_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each example's logit of its true class.

    Equation: l_i = s_i[y_i] (the curves of Zong et al., IJCAI 2024, Fig. 6).

    Args:
        logits: (batch, classes).
        labels: (batch,) class indices, 0 <= label < classes.

    Returns:
        (batch,) in single precision or more; NaN where the label is no class, such as the
        -100 of ignored examples.

    Raises:
        BatchError: the shapes do not fit, or the labels are not integers.

    Example:
        >>> true_class_logit(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([0, 1]))
        tensor([3., 0.])
    """
    checks.logits_and_labels(logits, labels)
    checks.class_indices(labels)
    classes = logits.shape[1]
    # Not an error: to look at the values would wait for the device, and an index past the end
    # would stop it for good.
    is_class = (labels >= 0) & (labels < classes)
    column = labels.long().clamp(0, classes - 1).unsqueeze(1)
    return upcast(logits).gather(1, column).squeeze(1).masked_fill(~is_class, torch.nan)


def logit_norm(logits: Tensor) -> Tensor:
    """Return the length of each example's logit vector.

    Equation: n_i = ||s_i||_2 (Zong et al., IJCAI 2024, Fig. 1 and 5).

    Args:
        logits: (batch, classes).

    Returns:
        (batch,) in logits, in single precision or more. Compare only heads with the same
        number of classes. It depends on a constant added to all logits, which no softmax
        sees; `centered_logit_norm` does not.

    Raises:
        SettingError: not (batch, classes).

    Example:
        >>> logit_norm(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        tensor([5., 2.])
    """
    _per_example("logits", logits)
    return torch.linalg.vector_norm(upcast(logits), dim=1)


def centered_logit_norm(logits: Tensor) -> Tensor:
    """Return the length of each logit vector after its mean over the classes is taken off.

    Equation: ||s_i - mean_c s_ic||_2. Adding a constant to all logits changes nothing.

    Args:
        logits: (batch, classes).

    Returns:
        (batch,) in logits, in single precision or more.

    Raises:
        SettingError: not (batch, classes).

    Example:
        >>> centered_logit_norm(torch.tensor([[3.0, 4.0], [13.0, 14.0]]))
        tensor([0.7071, 0.7071])
    """
    _per_example("logits", logits)
    logits = upcast(logits)
    # The mean of large logits is rounded, their differences are not.
    shifted = logits - logits[:, :1]
    return torch.linalg.vector_norm(shifted - shifted.mean(1, keepdim=True), dim=1)


def split_logits(
    features: Mapping[str, Tensor],
    weight: Tensor,
    bias: Tensor | None,
    bias_share: Mapping[str, float] | float | None = None,
) -> dict[str, Tensor]:
    """Split the logits of a linear head over concatenated features into one part per modality.

    Equation: z^m = phi^m (W^m)^T + g^m b with W = [W^1 | ... | W^M] (Wei et al., TPAMI 2024,
    inside eq. 6).

    Args:
        features: each modality's (batch, width), in the order of the concatenation.
        weight: (classes, sum of the widths).
        bias: (classes,), or None for a head without one.
        bias_share: g^m, the share of the bias that a modality gets; a mapping, or one number
            for all. The default 1/M is the paper's, and makes the parts sum to the logits. 1
            gives what the head says when the other features are zero.

    Returns:
        (batch, classes) per modality, in logits, in the head's precision or single.

    Raises:
        SettingError: fewer than two modalities, or the widths, the bias or the shares do not fit.

    Example:
        >>> features = {"audio": torch.tensor([[2.0]]), "visual": torch.tensor([[1.0]])}
        >>> split_logits(features, torch.tensor([[1.0, 3.0]]), torch.tensor([4.0]))
        {'audio': tensor([[4.]]), 'visual': tensor([[5.]])}
    """
    checks.modalities(features)
    for name, feature in features.items():
        _per_example(f"The features of {name!r}", feature, "(batch, width)")
    widths = [feature.shape[1] for feature in features.values()]
    wanted = f"(classes, {sum(widths)}), as the features are {widths} wide"
    checks.shape("weight", weight, wanted, weight.ndim == 2 and weight.shape[1] == sum(widths))
    if bias is None:
        bias = weight.new_zeros(len(weight))
    checks.shape("bias", bias, f"({len(weight)},)", bias.shape == weight.shape[:1])
    shares = _shares(bias_share, list(features))
    weight, bias = upcast(weight), upcast(bias)
    blocks = weight.split(widths, dim=1)
    return {
        name: feature.to(weight.dtype) @ block.T + shares[name] * bias
        for (name, feature), block in zip(features.items(), blocks, strict=True)
    }


def _shares(given: Mapping[str, float] | float | None, names: list[str]) -> Mapping[str, float]:
    if isinstance(given, Mapping):
        checks.same_modalities("bias_share", given, names)
        return given
    return dict.fromkeys(names, 1 / len(names) if given is None else given)


def _per_example(name: str, tensor: Tensor, wanted: str = "(batch, classes)") -> None:
    checks.shape(name, tensor, wanted, tensor.ndim == 2)
