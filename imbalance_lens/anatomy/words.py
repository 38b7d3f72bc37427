"""What finding says to people: how each line is known, or what could not be found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..batches import Call
from ..trees import carries_signal
from .groups import Groups
from .trace import Trace
from .tree import CalledTree
from .types import Anatomy
from .whole import Sites, Where

SHOWN = 8
"""How many candidates a message lists."""


def evidence(
    anatomy: Anatomy, trace: Trace, groups: Groups, sites: Sites, *, tried: bool
) -> dict[str, str]:
    """Return, for each path of a found anatomy, how it is known.

    Args:
        anatomy: as found.
        trace: what it was found in.
        groups: the inputs, sorted.
        sites: the sites that were chosen.
        tried: inputs were changed one at a time, since the flow left doubt.
    """
    how = "data flow, inputs changed in turn" if tried else "data flow"
    known: dict[str, str] = {}
    for modality, encoder in anatomy.encoders.items():
        alone = f"found: its output depends on {modality!r} alone ({how})"
        known.update(dict.fromkeys((*anatomy.parts[modality], encoder), alone))
        because = f"the signal passes by {encoder!r}"
        if modality in anatomy.entangled:
            known[encoder] = f"found: starts as {modality!r} alone, not to its end ({how})"
            because = f"{encoder!r} carries others too"
        if modality in sites.routed:
            because = f"values decide what is called in {encoder!r}"
        paths = sites.paths[modality]
        for path in paths:
            known.setdefault(path, f"{alone}; {encoder!r} itself is never called")
        if sites.where[modality] is Where.PARTS:
            for path in paths:
                known[path] += f"; one of {len(paths)} sites: {because}"
        if sites.where[modality] is Where.INPUTS:
            known.update(dict.fromkeys(paths, f"found: read at the input, since {because}"))
    for path in anatomy.shared:
        known[path] = f"found: called for {_listed(_users(trace, groups, path))} in turn"
    known.update(_fusion(anatomy, trace, groups))
    if anatomy.head is not None:
        known[anatomy.head] = "found: its output is the model's"
    for name, why in groups.unplaced.items():
        reached = name in trace.output.inputs
        known[f"input:{name}"] = f"of no modality: {why if reached else 'reaches no output'}"
    for modality, names in groups.members.items():
        for name in sorted(sites.passing & set(names)):
            known[f"input:{name}"] = f"of {modality!r}: also reaches the output past its sites"
    return known


def complaint(
    trace: Trace,
    tree: CalledTree,
    groups: Groups,
    parts: Mapping[str, Sequence[object]],
    inputs: Mapping[str, Sequence[Tensor]],
) -> str:
    """Return what to say when fewer than two modalities have parts of their own."""
    names = list(inputs)
    if not names:
        return "The inputs hold no tensor. Give the model's inputs for a few examples."
    if len(names) == 1:
        return (
            f"One input, {names[0]!r}, holds everything, so no module can be told to be one "
            f"modality's. {_advice('name')} {_candidates(tree)}"
        )
    found = {held[0] for modality, held in groups.members.items() if parts[modality]}
    lonely = [name for name in names if name not in found]
    missing = max(lonely, key=lambda name: any(map(carries_signal, inputs[name])))
    if missing not in trace.output.inputs:
        hint = f"{missing!r} does not reach the model's output."
    else:
        hint = f"If it enters the fusion as it is, write 'input:{missing}'."
    return f"No module reacts to {missing!r} alone. {_advice(missing)} {hint} {_candidates(tree)}"


def unseen(call: Call) -> str:
    """Return what to say of a model that is scripted or traced as a whole."""
    inputs = {name: f"input:{name}" for name in call.inputs}
    return (
        "The parts of a scripted or traced model are not seen. Give the model that it was made "
        f"from, or leave out its inputs: anatomy=Anatomy(encoders={inputs})."
    )


def _advice(name: str) -> str:
    return f"Pass anatomy=Anatomy(encoders={{{name!r}: 'path.to.module', ...}})."


def _candidates(tree: CalledTree) -> str:
    seen = [
        f"{path!r} (reads {_listed(sorted(inputs)) or 'no input'})"
        for path in _called(tree, "")
        for inputs in [frozenset().union(*(call.inputs for call in tree.calls[path]))]
    ]
    more = f" and {len(seen) - SHOWN} more" if len(seen) > SHOWN else ""
    text = f"Modules seen: {', '.join(seen[:SHOWN])}{more}." if seen else "No module was called."
    mute = [p for p, m in tree.modules.items() if isinstance(m, torch.jit.ScriptModule)]
    return f"{text} Scripted modules are not seen: {_listed(mute[:1])}." if mute else text


def _called(tree: CalledTree, path: str) -> Iterator[str]:
    for child in tree.children(path):
        if child not in tree.calls:
            yield from _called(tree, child)
        elif tree.size(child):
            yield child


def _users(trace: Trace, groups: Groups, path: str) -> list[str]:
    read = frozenset().union(*(seen.inputs for seen in trace.calls if seen.path == path))
    return [modality for modality, names in groups.members.items() if read & set(names)]


def _fusion(anatomy: Anatomy, trace: Trace, groups: Groups) -> Iterator[tuple[str, str]]:
    stamps = {
        path: {value for seen in trace.calls if seen.path == path for value in seen.stamps}
        for path in anatomy.fusion
    }
    after = {}
    for path, values in stamps.items():
        tags = trace.flow.tags(dict.fromkeys(values, path))
        after[path] = {p for p, held in stamps.items() if any(path in tags[v] for v in held)}
    for path in anatomy.fusion:
        text = f"found: {_listed(_users(trace, groups, path))} meet before it or in it"
        beside = [p for p in anatomy.fusion if p not in after[path] and path not in after[p]]
        if beside and not anatomy.entangled:
            text += (
                f"; it works beside {_listed(beside)}: if it is one modality's branch, say so "
                "with Anatomy(parts=...)"
            )
        yield path, text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
