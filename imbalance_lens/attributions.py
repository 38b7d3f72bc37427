"""How much each entry of the inputs adds to a class's logit, for figures of single examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import checks
from .anatomy import Anatomy
from .anatomy.leaves import leaves, mapped
from .anatomy.outputs import LogitsOf, checked_logits
from .anatomy.replayer import Replayer
from .batches import Call, bind, check_labels, class_indices, device_of
from .errors import NotApplicableError
from .hooks.frozen import frozen
from .hooks.recurrent import differentiable
from .hooks.wrappers import unwrap
from .passes import who_is_who
from .probes._integrated import integrated_gradients

if TYPE_CHECKING:
    import numpy as np


def attribute_inputs(
    model: nn.Module,
    inputs: Any,
    labels: Any,
    anatomy: Anatomy | Mapping[str, str] | None = None,
    *,
    n_steps: int = 32,
    logits: LogitsOf | None = None,
) -> dict[str, np.ndarray]:
    """Share the logits of some classes out among the entries of the inputs.

    Integrated gradients from zero inputs, all modalities together (Sundararajan, Taly and Yan,
    ICML 2017, eq. 1). The entries of all modalities add up to the logit of the example's class,
    minus that for zero inputs, up to the error of the quadrature. Nothing about the model changes.

    Cost: `n_steps` forward and backward passes of the whole model.

    Args:
        model: as `diagnose` takes it.
        inputs: of one batch, without labels, as `find_anatomy` takes them.
        labels: (batch,) class indices; whose logits are shared out.
        anatomy: who is who, or just {modality: path of its encoder}. Default: found.
        n_steps: points on the way from zero to the inputs.
        logits: gets the logits (batch, classes) out of the model's output where that is unclear.

    Returns:
        Modality -> array of its input's shape, in logits. Where several inputs feed a modality,
        one array for each, under "modality.input".

    Raises:
        NotApplicableError: a modality is fed by integers, such as tokens, which have no gradient.
        AnatomyError: the model's parts could not be found.
        BatchError: the inputs or labels do not fit the model.
        SettingError: `n_steps` is not above 0.

    Example:
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> inputs, labels = next(iter(loader))
        >>> found = attribute_inputs(model, inputs, labels)
        >>> found["audio"].shape
        (32, 4)
        >>> abs(found["audio"]).sum() > abs(found["visual"]).sum()
        np.True_
    """
    checks.whole("n_steps", n_steps)
    logits_of = None if logits is None else checked_logits(logits)
    inner = unwrap(model)
    with frozen(inner):
        device = device_of(inner)
        call = bind(inner, inputs).to(device)
        who = who_is_who(inner, anatomy, inputs)
        with Replayer(inner, who, logits_of=logits_of) as replayer:
            replay = replayer.capture(call)
            places = _places(who, call) if who.inputs else _reached(replayer, call)
        target = class_indices(labels).to(device)
        check_labels(target, replay.logits_all.shape[1], replay.examples)
        for modality in who.modalities:
            if not places[modality]:
                raise _no_gradient(modality)
        signals = _floating(call)
        points = {place: signals[place] for own in places.values() for place in own}

        def logit(*given: Tensor) -> Tensor:
            output = _output(inner, _with(call, dict(zip(points, given, strict=True))))
            return replay.logits_of(output).gather(1, target.unsqueeze(1)).squeeze(1)

        parts = integrated_gradients(logit, list(map(_raised, points.values())), n_steps)
    found = {place: part.cpu().numpy() for place, part in zip(points, parts, strict=True)}
    return {
        modality if len(own) == 1 else f"{modality}.{_name(place, call)}": found[place]
        for modality, own in places.items()
        for place in own
    }


def _output(model: nn.Module, call: Call) -> Any:
    try:
        with differentiable(model):
            return call(model)
    except Exception as error:
        error.add_note(f"(while {type(model).__name__} ran on inputs whose gradient is wanted)")
        raise


Place = tuple[str, int]
"""An input, as `leaves` names it, and which of its tensors."""


def _floating(call: Call) -> dict[Place, Tensor]:
    return {
        (name, k): tensor
        for name, held in leaves(call).items()
        for k, tensor in enumerate(held)
        if tensor.is_floating_point()
    }


def _with(call: Call, points: Mapping[Place, Tensor]) -> Call:
    """Return the call with other tensors at some places, in the precision of its own."""
    passed: Counter[str] = Counter()

    def point_or_own(name: str, own: Tensor) -> Tensor:
        passed[name] += 1
        point = points.get((name, passed[name] - 1))
        return own if point is None else point.to(own.dtype).clone()

    return mapped(point_or_own, call)


def _places(who: Anatomy, call: Call) -> dict[str, list[Place]]:
    """Return where each modality's inputs are, by their names."""
    return {
        modality: [
            place
            for place in _floating(call)
            if any(f"{place[0]}.".startswith(f"{name}.") for name in who.inputs.get(modality, ()))
        ]
        for modality in who.modalities
    }


def _reached(replayer: Replayer, call: Call) -> dict[str, list[Place]]:
    """Return the inputs on which only one modality's features depend; one pass with the graph."""
    inputs = {place: t.detach().clone().requires_grad_() for place, t in _floating(call).items()}
    if not inputs:
        return {modality: [] for modality in replayer.anatomy.modalities}
    reached: dict[str, list[Place]] = {}
    with torch.enable_grad():
        replay = replayer.capture(_with(call, inputs), graph=True)
        for modality, signals in replay.signals.items():
            sums = [signal.abs().sum() for signal in signals if signal.requires_grad]
            gradients = torch.autograd.grad(
                sums or [torch.zeros((), requires_grad=True)],
                list(inputs.values()),
                retain_graph=True,
                allow_unused=True,
            )
            arrived = zip(inputs, gradients, strict=True)
            reached[modality] = [place for place, found in arrived if found is not None]
    times = Counter(place for own in reached.values() for place in own)
    return {
        modality: [place for place in own if times[place] == 1] for modality, own in reached.items()
    }


def _raised(point: Tensor) -> Tensor:
    return point.to(torch.promote_types(point.dtype, torch.float32))


def _name(place: Place, call: Call) -> str:
    name, k = place
    return f"{name}[{k}]" if len(leaves(call)[name]) > 1 else name


def _no_gradient(modality: str) -> NotApplicableError:
    return NotApplicableError(
        f"No floating-point input feeds {modality!r} alone, and integers such as tokens have no "
        f"gradient. If one does, name it in Anatomy(..., inputs={{{modality!r}: ('name',)}}); else "
        "share the logits out among the features, with the probe 'integrated_gradients'."
    )
