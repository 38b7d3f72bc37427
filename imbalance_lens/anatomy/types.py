"""Who is who in a multimodal model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from .. import checks
from ..errors import AnatomyError, SettingError
from ..hooks.wrappers import unwrap
from ..notebook import as_table
from ..schema import JOINT


@dataclass(frozen=True)
class Anatomy:
    """Module paths of a multimodal model; holds no module itself.

    A site is one place where a modality's signal is read and replaced. It is written as

    - `"audio_net"`: the output of a module, all its calls;
    - `"trunk#1"`: one call of a module, counted from 0, for a trunk that modalities share;
    - `"encode_audio"`: the answer of a method;
    - `"encoder[audio]"`, `"encoder[1]"`: one part of an output that is a mapping or a sequence.
      Of an output that holds several tensors all are exchanged, but only the first one counts as
      the features: where an encoder returns (attention, features), write `"encoder[1]"`;
    - `"input:audio"`: an input of the model, where no module is only one modality's.

    Args:
        encoders: modality -> path of its encoder. Two or more; any names.
        head: path of the module that gives the logits, if there is one.
        sites: modality -> where its whole signal passes. Default: its encoder.
        parts: modality -> modules that only this modality uses. Default: its encoder.
        inputs: modality -> names of the model's inputs that feed it.
        fusion: modules in which modalities meet.
        shared: modules that several modalities use, each in calls of its own.
        entangled: modality -> why its encoder carries other modalities too.
        evidence: path -> how the line is known.

    Raises:
        SettingError: fewer than two modalities, or another set of them in `sites` or `parts`.

    Example:
        >>> anatomy = Anatomy(encoders={"audio": "audio_net", "visual": "visual_net"}, head="head")
        >>> anatomy.modalities
        ('audio', 'visual')
        >>> anatomy.sites["audio"]
        ('audio_net',)
    """

    encoders: Mapping[str, str]
    head: str | None = None
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fusion: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    entangled: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.modalities(self.encoders, reserved=JOINT)
        for modality, path in self.encoders.items():
            if not isinstance(path, str):
                raise SettingError(
                    f"The encoder of {modality!r} is given as a {type(path).__name__}. Give its "
                    "path in the model, such as 'audio_net'."
                )
        own = {modality: (path,) for modality, path in self.encoders.items()}
        for name in ("sites", "parts"):
            given = getattr(self, name)
            checks.no_strangers(name, given, self.encoders)
            several = {m: (held,) if isinstance(held, str) else held for m, held in given.items()}
            object.__setattr__(self, name, {**own, **several})

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities' names, in order."""
        return tuple(self.encoders)

    def parameters(self, model: nn.Module, modality: str) -> Iterator[nn.Parameter]:
        """Yield the parameters that only this modality's encoder owns.

        A parameter that any module outside of it holds too (tied weights, a shared trunk) is
        left out.

        Raises:
            UnknownNameError: no such modality.
            AnatomyError: one of its parts is no module (a method, an input); name the modules.
        """
        checks.known_modality(modality, self.encoders)
        inner = unwrap(model)
        own = self.parts[modality]
        modules = dict(inner.named_modules(remove_duplicate=False))
        for path in own:
            if path not in modules:
                raise AnatomyError(
                    f"{path!r} is no module, so the parameters of {modality!r} are not known. Pass "
                    f"Anatomy(..., parts={{{modality!r}: ('path.to.module', ...)}})."
                )
        held_elsewhere = {
            parameter
            for path, parameter in inner.named_parameters(remove_duplicate=False)
            if not any(path.startswith(f"{part}.") for part in own)
        }
        seen: set[nn.Parameter] = set()
        for path in own:
            for parameter in modules[path].parameters():
                if parameter not in held_elsewhere and parameter not in seen:
                    seen.add(parameter)
                    yield parameter

    def _repr_html_(self) -> str:
        parts = [*self.encoders.items(), *(("fusion", path) for path in self.fusion)]
        rows = [(part, path, self.evidence.get(path, "given")) for part, path in parts]
        if self.head is None:
            rows.append(("head", "none", ""))
        else:
            rows.append(("head", self.head, self.evidence.get(self.head, "given")))
        header = ("part", "module", "how that is known")
        return as_table(("", rows), title="Anatomy", header=header, words=True)

    def owner(self, path: str) -> str:
        """Return the modality whose part holds the module at `path`, or "" for none."""
        for modality, parts in self.parts.items():
            if any(path == part or path.startswith(f"{part}.") for part in parts):
                return modality
        return ""

    def renamed(self, names: Mapping[str, str]) -> Anatomy:
        """Return the same anatomy with other names for its modalities.

        Args:
            names: old name -> new name; modalities that are not named keep theirs.

        Raises:
            UnknownNameError: no modality of an old name.

        Example:
            >>> found = Anatomy(encoders={"x1": "net1", "x2": "net2"})
            >>> found.renamed({"x1": "audio"}).modalities
            ('audio', 'x2')
        """
        for old in names:
            checks.known_modality(old, self.encoders)
        changed: dict[str, Any] = {
            part: {names.get(old, old): value for old, value in getattr(self, part).items()}
            for part in ("encoders", "sites", "parts", "inputs", "entangled")
        }
        return replace(self, **changed)
