"""From the inputs that each module depends on to encoders, fusion and head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .trace import Seen, Trace
from .tree import CalledTree


@dataclass(frozen=True)
class Part:
    """Something that only one modality uses.

    Attributes:
        site: as an anatomy writes it.
        module: path of the module.
        size: number of parameters of that module.
        values: what it answered, in the flow.
        pieces: for a container that is never called itself, the modules in it that are.
        in_fusion: it lies in a module that others feed too and the modality did not start in.
    """

    site: str
    module: str
    size: int
    values: frozenset[int]
    pieces: tuple[Part, ...] = ()
    in_fusion: bool = False


@dataclass(frozen=True)
class Entangled:
    """A container of one modality that another one gets into.

    Attributes:
        path: of the container.
        why: the sentence for people.
    """

    path: str
    why: str


@dataclass
class Selection:
    """Who is who, as far as the dependencies of single calls tell.

    Attributes:
        parts: modality -> what only it uses, in the order of the calls.
        fusion: modules in which modalities meet.
        shared: modules that several modalities use, each in calls of its own.
        unclear: modules whose answer has several parts, none of which depends on one modality.
        entangled: modality -> the container that others get into.
    """

    parts: dict[str, list[Part]] = field(default_factory=dict)
    fusion: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    entangled: dict[str, Entangled] = field(default_factory=dict)

    def largest(self, modality: str) -> Part:
        """Return the part with the most parameters, of those before the modalities meet."""
        before = [part for part in self.parts[modality] if not part.in_fusion]
        return max(before or self.parts[modality], key=lambda part: part.size)

    def encoder(self, modality: str) -> str:
        """Return the path of the encoder: the largest part, or the container that it starts."""
        if modality in self.entangled:
            return self.entangled[modality].path
        return self.largest(modality).site

    def own(self, modality: str) -> tuple[str, ...]:
        """Return the paths of what only this modality uses; shared modules are nobody's.

        A gate or a factor of this modality inside the fusion is the fusion's.
        """
        own = [
            part.site
            for part in self.parts[modality]
            if part.module not in self.shared
            and (not part.in_fusion or part == self.largest(modality))
        ]
        if modality not in self.entangled:
            return tuple(own)
        branch = self.entangled[modality].path
        return (branch, *(path for path in own if not path.startswith(f"{branch}.")))


class Selector:
    """Walks the module tree from the root and stops where one modality is alone.

    Args:
        tree: the calls that were seen.
        modality_of: input -> modality; other inputs are ignored.
    """

    def __init__(self, tree: CalledTree, modality_of: Mapping[str, str]) -> None:
        self.tree = tree
        self.modality_of = modality_of

    def select(self) -> Selection:
        """Return the whole selection."""
        found = Selection({modality: [] for modality in self.modality_of.values()})
        self._walk("", found)
        for modality, parts in found.parts.items():
            parts.sort(key=lambda part: (self.tree.order(part.module), part.site))
            start = parts[0].module if parts else ""
            found.parts[modality] = [
                replace(part, in_fusion=self._in_fusion(part.module, start)) for part in parts
            ]
        for modality, parts in found.parts.items():
            entangled = self._entangled(modality, found) if parts else None
            if entangled is not None:
                found.entangled[modality] = entangled
        inside = tuple(f"{entangled.path}." for entangled in found.entangled.values())
        fusion = [path for path in found.fusion if not path.startswith(inside)]
        found.fusion = sorted(fusion, key=self.tree.order)
        return found

    def modalities(self, inputs: Iterable[str]) -> frozenset[str]:
        """Return the modalities of some inputs."""
        return frozenset(self.modality_of[name] for name in inputs if name in self.modality_of)

    def met_in(self, path: str) -> frozenset[str]:
        """Return the modalities that a module's answers depend on."""
        return self._of(self.tree.calls.get(path, ()))

    def _of(self, calls: Iterable[Seen]) -> frozenset[str]:
        return frozenset().union(*(self.modalities(seen.inputs) for seen in calls))

    def _only(self, path: str) -> str | None:
        """Return the one modality of a module and of everything called inside of it."""
        calls = [
            seen for p in (path, *self.tree.inside(path)) for seen in self.tree.calls.get(p, ())
        ]
        met = self._of(calls)
        return next(iter(met)) if len(met) == 1 else None

    def _walk(self, path: str, found: Selection) -> None:
        size, calls = self.tree.size(path), self.tree.calls.get(path, [])
        if path and not size:
            return
        alone = [(seen, self._of([seen])) for seen in calls]
        alone = [(seen, met) for seen, met in alone if met]
        if path and len({met for _, met in alone}) > 1 and all(len(met) == 1 for _, met in alone):
            found.shared.append(path)
            for seen, met in alone:
                part = Part(f"{path}#{seen.index}", path, size, frozenset(seen.stamps))
                found.parts[next(iter(met))].append(part)
            return
        modality = self._only(path) if path else None
        gives_features = not calls or any(seen.signals for seen in calls)
        if modality is not None and gives_features:
            found.parts[modality].append(self._part(path))
            found.shared += self._tied(path, found.shared)
            return
        if path and len(self.met_in(path)) > 1:
            inside = [self._only(layer) for layer in self.tree.layers(path)]
            if self._answers_apart(path, all(inside) and bool(inside), found):
                return
            if not any(inside):
                found.fusion.append(path)
                return
        for child in self.tree.children(path):
            self._walk(child, found)

    def _part(self, path: str) -> Part:
        calls = self.tree.calls.get(path)
        size = self.tree.size(path)
        if calls:
            return Part(path, path, size, frozenset().union(*(seen.stamps for seen in calls)))
        pieces = self._pieces(path)
        if len(pieces) == 1:
            return pieces[0]
        values = frozenset().union(*(piece.values for piece in pieces))
        return Part(path, path, size, values, tuple(pieces))

    def _pieces(self, path: str) -> list[Part]:
        pieces = []
        for child in self.tree.children(path):
            if self._only(child) is not None:
                part = self._part(child)
                pieces += part.pieces or (part,)
        return sorted(pieces, key=lambda piece: self.tree.order(piece.module))

    def _tied(self, path: str, known: list[str]) -> list[str]:
        """Return what is called here by one modality and, held elsewhere too, by others there."""
        inside = [p for p in self.tree.calls if p.startswith(f"{path}.") and self.tree.size(p)]
        return [
            p
            for p in inside
            if len(self.met_in(p)) > 1 and not any(p.startswith(f"{k}.") for k in known)
        ]

    def _answers_apart(self, path: str, clean_inside: bool, found: Selection) -> bool:
        """Say whether the parts of a module's answer belong to one modality each, and note them."""
        calls = self.tree.calls[path]
        met = {p: self._of_place(calls, p) for p in calls[0].depends if p in calls[0].signals}
        met = {place: names for place, names in met.items() if names}
        if len(met) < 2 or clean_inside:
            return False
        if not all(len(names) == 1 for names in met.values()):
            own = not type(self.tree.modules[path]).__module__.startswith("torch.nn")
            if own and all(len(names) > 1 for names in met.values()):
                found.unclear.append(path)
            return False
        for place, names in met.items():
            values = frozenset(v for seen in calls for v in seen.values.get(place, ()))
            part = Part(f"{path}[{place}]", path, self.tree.size(path), values)
            found.parts[next(iter(names))].append(part)
        return True

    def _of_place(self, calls: list[Seen], place: str) -> frozenset[str]:
        return frozenset().union(*(self.modalities(seen.depends.get(place, ())) for seen in calls))

    def _in_fusion(self, path: str, start: str) -> bool:
        keys = path.split(".")
        above = (".".join(keys[:depth]) for depth in range(1, len(keys)))
        return any(len(self.met_in(p)) > 1 and not start.startswith(f"{p}.") for p in above)

    def _entangled(self, modality: str, found: Selection) -> Entangled | None:
        """Return the outermost container that is never called and starts as one modality's."""
        encoder = found.largest(modality).module
        others = {p.module for m, parts in found.parts.items() if m != modality for p in parts}
        keys = found.parts[modality][0].module.split(".")
        for depth in range(1, len(keys)):
            path = ".".join(keys[:depth])
            layers = self.tree.layers(path)
            mixed = [layer for layer in layers if self._only(layer) is None]
            inside = [module for module in (encoder, *others) if module.startswith(f"{path}.")]
            if path in self.tree.calls or not mixed or inside != [encoder]:
                continue
            into = sorted(self.met_in(mixed[0]) - {modality})
            return Entangled(
                path,
                f"carries {modality!r} alone in {len(layers) - len(mixed)} of {len(layers)} called "
                f"layers; from {mixed[0]!r} on it also depends on {', '.join(map(repr, into))}",
            )
        return None


def find_head(trace: Trace, selection: Selection, tree: CalledTree) -> str | None:
    """Return the fusion module whose answer is the model's logits, if there is exactly one."""
    heads: dict[str, set[str]] = {}
    for place, values in trace.output.values.items():
        for value in values:
            behind = _same_as(trace, value)
            for path in selection.fusion:
                if any(behind & seen.stamps for seen in tree.calls[path]):
                    heads.setdefault(place, set()).add(path)
    candidates = heads.get("logits") or set().union(*heads.values())
    return next(iter(candidates)) if len(candidates) == 1 else None


def _same_as(trace: Trace, value: int) -> set[int]:
    chain = {value}
    while value in trace.flow.same_as:
        value = trace.flow.same_as[value]
        chain.add(value)
    return chain
