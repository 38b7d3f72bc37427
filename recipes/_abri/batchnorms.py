"""Which BatchNorm layers a model has, whose they are, and which of them can be changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from imbalance_lens import Anatomy, checks
from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.hooks.batchnorm import is_batchnorm
from imbalance_lens.hooks.wrappers import unwrap


def owners(model: nn.Module, anatomy: Anatomy) -> dict[_BatchNorm, set[str]]:
    """Return the BatchNorm layers, each once, and the modalities that use them; "" is none.

    Args:
        model: the user's own, unwrapped.
        anatomy: who is who in it.
    """
    found: dict[_BatchNorm, set[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _BatchNorm):
            common = any(f"{path}.".startswith(f"{shared}.") for shared in anatomy.shared)
            using = set(anatomy.modalities) if common else {anatomy.owner(path)}
            found.setdefault(module, set()).update(using)
    return found


def changeable(
    model: nn.Module,
    modalities: Iterable[str] | None,
    anatomy: Anatomy | Mapping[str, str] | None,
) -> list[_BatchNorm]:
    """Return the layers that have a scale and shift to change, each once.

    Args:
        model: the user's.
        modalities: whose layers; a layer that others use too is left out. None: all of the model.
        anatomy: who is who, or {modality: path of its encoder}.

    Raises:
        NotApplicableError: there is none, or one cannot be changed.
        SettingError: modalities without an anatomy.
        UnknownNameError: a modality that the anatomy does not have.
    """
    inner = unwrap(model)
    if modalities is None:
        layers = [module for module in inner.modules() if isinstance(module, _BatchNorm)]
        _complain_if_none(inner, layers, "the model", inner.modules())
    else:
        chosen = set(modalities)
        who = _given(anatomy, chosen)
        of = owners(inner, who)
        for name in sorted(chosen):
            inside = [part for path in who.parts[name] for part in _inside(inner, path)]
            own = [layer for layer, using in of.items() if name in using]
            _complain_if_none(inner, own, f"the encoder of {name!r}", inside)
        layers = [layer for layer, using in of.items() if using <= chosen]
        if not layers:
            raise NotApplicableError(
                f"All BatchNorm layers of {', '.join(map(repr, sorted(chosen)))} are used outside "
                "of these encoders, too. Name every modality that uses them, or convert the whole "
                "model."
            )
    paths = {module: path for path, module in inner.named_modules()}
    able = [layer for layer in layers if _has_affine(layer)]
    for layer in able:
        _complain_if_fixed(layer, paths[layer] or type(layer).__name__)
    return able


def _has_affine(layer: _BatchNorm) -> bool:
    return bool(layer.affine)


def _complain_if_none(
    model: nn.Module, layers: Iterable[_BatchNorm], where: str, inside: Iterable[nn.Module]
) -> None:
    if any(map(_has_affine, layers)):
        return
    others = sorted({type(module).__name__ for module in inside if is_batchnorm(module)})
    seen = f" There is {', '.join(others)}, whose scale and shift do not train." if others else ""
    raise NotApplicableError(
        f"{where[0].upper()}{where[1:]} has no BatchNorm layer with a trainable scale and shift "
        f"(searched in {type(model).__name__}).{seen} Other kinds of normalization, and layers "
        "folded into convolutions, cannot be re-initialized in this way. Choose other modalities "
        "or another recipe."
    )


def _complain_if_fixed(layer: _BatchNorm, path: str) -> None:
    own = [p for name in ("weight", "bias") if (p := layer._parameters.get(name)) is not None]
    if len(own) < 2:
        reason = "has a scale or shift that is computed or missing, not a parameter of its own"
        advice = "Remove its parametrization first."
    elif any(map(is_lazy, own)):
        reason = "is lazy and does not know its channels yet"
        advice = "Run the model on a batch first."
    elif not all(parameter.requires_grad for parameter in own):
        reason = "is frozen, so nothing would train it"
        advice = "Set requires_grad on its weight and bias, or choose other modalities."
    else:
        return
    raise NotApplicableError(f"The BatchNorm layer {path!r} {reason}. {advice}")


def _given(anatomy: Anatomy | Mapping[str, str] | None, modalities: Iterable[str]) -> Anatomy:
    if anatomy is None:
        raise SettingError(
            "modalities= names encoders, and nobody has said which these are. Pass anatomy= from "
            "imbalance_lens.find_anatomy, or {modality: path of its encoder}."
        )
    who = anatomy if isinstance(anatomy, Anatomy) else Anatomy(encoders=anatomy)
    for name in modalities:
        checks.known_modality(name, who.modalities)
    return who


def _inside(model: nn.Module, path: str) -> Iterable[nn.Module]:
    modules = dict(model.named_modules(remove_duplicate=False))
    return modules[path].modules() if path in modules else ()
