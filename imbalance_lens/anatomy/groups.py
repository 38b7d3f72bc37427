"""Which inputs are a modality, and which come along with one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..trees import carries_signal
from .tree import CalledTree

Names = frozenset[str]


@dataclass(frozen=True)
class Groups:
    """The inputs, sorted by modality.

    Attributes:
        members: modality -> its inputs; the first one gives it its name.
        unplaced: input -> why it belongs to none.
        never_apart: inputs that no module with parameters tells from another one.
    """

    members: Mapping[str, tuple[str, ...]]
    unplaced: Mapping[str, str]
    never_apart: Names = frozenset()

    @property
    def modality_of(self) -> dict[str, str]:
        """Input -> its modality."""
        return {name: modality for modality, names in self.members.items() for name in names}


def group(tree: CalledTree, met: Iterable[Names], inputs: Mapping[str, Sequence[Tensor]]) -> Groups:
    """Sort inputs into modalities.

    An input that some module with parameters depends on alone is a modality; so are inputs that
    no such module tells apart (a sequence and its lengths). The others (masks) join the modality
    that they meet alone, if it is always the same. Inputs that own embedding tables only (token
    ids, token types) are one modality where a further module reads them together while another
    modality stays out.

    Args:
        tree: the calls that were seen.
        met: for every value of the pass, in order, the inputs that it depends on.
        inputs: name -> tensors, in order.
    """
    dependencies = _dependencies(tree)
    main: dict[str, str] = {}
    smallest = _never_apart(dependencies)
    for together in smallest:
        in_order = [name for name in inputs if name in together]
        main.update(dict.fromkeys(together, max(in_order, key=lambda n: _weight(inputs[n]))))
    for together in _read_together(tree, dependencies, set(main.values())):
        in_order = [name for name in inputs if name in together]
        first = max(in_order, key=lambda name: _table_size(tree, dependencies, name))
        main.update({name: first for name, own in main.items() if own in together})
    met = [*met, *(seen.inputs for calls in tree.calls.values() for seen in calls)]
    why: dict[str, str] = {}
    waiting = [name for name in inputs if name not in main]
    while waiting:
        company = {name: _company(name, main, met) for name in waiting}
        alone = {name: _alone(known) for name, known in company.items()}
        joined = {name: next(iter(known)) for name, known in alone.items() if len(known) == 1}
        if not joined:
            why = {name: _reason(alone[name], company[name]) for name in waiting}
            break
        main.update(joined)
        waiting = [name for name in waiting if name not in joined]
    inseparable = frozenset[str]().union(*(names for names in smallest if len(names) > 1))
    return Groups(_named(main, list(inputs)), why, inseparable)


def _dependencies(tree: CalledTree) -> dict[Names, set[str]]:
    """What the answers of modules with parameters, or parts of them, depend on -> their paths."""
    found: dict[Names, set[str]] = {}
    for path, calls in tree.calls.items():
        for seen in calls if path and tree.size(path) else ():
            apart = seen.apart if all(len(names) == 1 for names in seen.apart) else []
            for names in (seen.inputs, *apart):
                if names:
                    found.setdefault(names, set()).add(path)
    return found


def _never_apart(dependencies: Iterable[Names]) -> list[Names]:
    """Return the smallest sets of inputs, without what is in several (a mask for all)."""
    smallest = [names for names in dependencies if not any(o < names for o in dependencies)]
    held = Counter(name for names in smallest for name in names)
    return [own for own in (names & {n for n in held if held[n] == 1} for names in smallest) if own]


def _weight(tensors: Sequence[Tensor]) -> tuple[bool, int]:
    return any(map(carries_signal, tensors)), sum(tensor.numel() for tensor in tensors)


def _read_together(
    tree: CalledTree, dependencies: Mapping[Names, set[str]], known: Collection[str]
) -> Iterator[Names]:
    def is_table(path: str) -> bool:
        return isinstance(tree.modules[path], nn.Embedding | nn.EmbeddingBag)

    looked_up = {
        name
        for name in known
        if (own := dependencies.get(frozenset([name]))) and all(map(is_table, own))
    }
    for names in dependencies:
        together = names & set(known)
        if 1 < len(together) < len(known) and together <= looked_up:
            yield together


def _table_size(tree: CalledTree, dependencies: Mapping[Names, set[str]], name: str) -> int:
    return max(tree.size(path) for path in dependencies[frozenset([name])])


def _company(name: str, main: Mapping[str, str], met: Iterable[Names]) -> list[Names]:
    """Return which modalities an input meets, each time that it meets any."""
    times = (frozenset(main[o] for o in depends if o in main) for depends in met if name in depends)
    return [known for known in times if known]


def _alone(company: Iterable[Names]) -> Names:
    return frozenset[str]().union(*(known for known in company if len(known) == 1))


def _reason(alone: Names, company: Sequence[Names]) -> str:
    if alone:
        return f"goes with {', '.join(map(repr, sorted(alone)))} alike"
    if company:
        return f"enters where {', '.join(map(repr, sorted(company[0])))} meet"
    return "meets no modality"


def _named(main: Mapping[str, str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    members = {
        first: (first, *(n for n in names if main.get(n) == first and n != first))
        for first in dict.fromkeys(main[n] for n in names if n in main)
    }
    short = {first: _short(first, held, names) for first, held in members.items()}
    taken = Counter(short.values())
    return {
        short[first] if taken[short[first]] == 1 else first: held for first, held in members.items()
    }


def _short(first: str, members: Collection[str], names: Sequence[str]) -> str:
    """Leave out the mappings that a modality shares with others: 'data.audio' is 'audio'."""
    keys = first.split(".")
    for depth, key in enumerate(keys, start=1):
        prefix = ".".join(keys[:depth])
        if {name for name in names if f"{name}.".startswith(f"{prefix}.")} <= set(members):
            return key
    return first
