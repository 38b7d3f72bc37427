"""Gradients of the joint and of the unimodal losses on each encoder's own parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..errors import AnatomyError, NotApplicableError
from ..observation import Gradients
from .readout import Heads, Readout, read_logits
from .replay import Replay


def encoder_gradients(
    replay: Replay, labels: Tensor, readout: Readout, heads: Heads | None = None
) -> dict[str, Gradients]:
    """Return two gradients per encoder, in eval mode, at the parameters as they are.

    Costs one forward and two backward passes of the whole model: the unimodal losses go back
    through their own encoders only, so that all of them make one pass. No `.grad` is touched.

    Args:
        replay: of the batch.
        labels: (batch,) class indices.
        readout: how unimodal logits are read.
        heads: where the readout is "heads".

    Returns:
        Modality -> gradients; encoders without trainable parameters of their own are left out.

    Raises:
        NotApplicableError: the parameters of an encoder are not known; the message says what to
            name.
    """
    own = {modality: _trainable(replay, modality) for modality in replay.modalities}
    own = {modality: parameters for modality, parameters in own.items() if parameters}
    if not own:
        return {}
    with torch.enable_grad():
        again = replay.with_graph()
        alone = read_logits(readout, again, heads)
        everyone = [parameter for parameters in own.values() for parameter in parameters]
        joint = iter(_gradients(_loss(again.logits_all, labels), everyone))
        return {
            modality: Gradients(
                joint=_flat(next(joint) for _ in parameters),
                alone=_flat(_gradients(_loss(alone[modality], labels), parameters)),
                parameter_norm=_norm(parameters),
            )
            for modality, parameters in own.items()
        }


def _trainable(replay: Replay, modality: str) -> list[nn.Parameter]:
    try:
        parameters = list(replay.parameters(modality))
    except AnatomyError as error:
        raise NotApplicableError(str(error)) from error
    return [parameter for parameter in parameters if parameter.requires_grad]


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.float(), labels.to(logits.device))


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor]:
    if not loss.requires_grad:  # the logits do not depend on any parameter
        return [torch.zeros_like(parameter) for parameter in parameters]
    return torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )


def _flat(gradients: Iterable[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    lengths = [
        torch.linalg.vector_norm(parameter.detach(), dtype=torch.float64)
        for parameter in parameters
    ]
    return torch.linalg.vector_norm(torch.stack(lengths))
