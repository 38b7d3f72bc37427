"""Sites: from the text of a path to the place where a signal is read and replaced."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from ..checks import AT_INPUTS
from ..errors import AnatomyError
from ..hooks.precision import ambient_autocast
from ..trees import carries_signal, put, tensors
from .recording import Recorded, Recording, Target, answered, recorded
from .types import Anatomy

_INPUT = "input:"
_PATH = re.compile(r"(?P<target>[^#\[\]]+)(?:#(?P<call>\d+))?(?:\[(?P<item>[^\]]+)\])?")


@dataclass(frozen=True)
class Site:
    """One place, taken apart from its written form (see `Anatomy`).

    Attributes:
        path: as written.
        target: module or method path; "" for an input of the model.
        call: which call of the target; None means all.
        item: which part of the output; None means all of it.
        input: name of a model input; "" for a target.
    """

    path: str
    target: str = ""
    call: int | None = None
    item: str | None = None
    input: str = ""

    @classmethod
    def parse(cls, path: str) -> Site:
        """Read a written site.

        Raises:
            AnatomyError: the text is none.

        Example:
            >>> Site.parse("trunk#1")
            Site(path='trunk#1', target='trunk', call=1, item=None, input='')
        """
        if path.startswith(_INPUT):
            return cls(path, input=path.removeprefix(_INPUT))
        found = _PATH.fullmatch(path)
        if found is None:
            raise AnatomyError(
                f"{path!r} is no site. Write 'path.to.module', 'trunk#1' (second call), "
                "'encoder[audio]' (part of an output), 'method_name' or 'input:name'."
            )
        call = found["call"]
        return cls(path, found["target"], None if call is None else int(call), found["item"])


class Claim(NamedTuple):
    """A modality's hold on what a target answers."""

    modality: str
    site: Site

    def covers(self, call: int) -> bool:
        """Say whether the claim is on this call of the target."""
        return self.site.call is None or self.site.call == call


class Wiring:
    """An anatomy's sites, found in one model.

    Raises:
        AnatomyError: a path leads nowhere; the message names paths that look alike.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        modules = dict(model.named_modules(remove_duplicate=False))
        parts = (part for held in anatomy.parts.values() for part in held)
        for path in (*parts, *([anatomy.head] if anatomy.head else [])):
            site = Site.parse(path)
            if not site.input and site.target not in modules:
                _resolve(model, site.target)
        self.claims: dict[Target, list[Claim]] = {}
        self.inputs: dict[str, list[Site]] = {}
        for modality, paths in anatomy.sites.items():
            for site in map(Site.parse, paths):
                if site.input:
                    self.inputs.setdefault(modality, []).append(site)
                else:
                    target = _resolve(model, site.target)
                    self.claims.setdefault(target, []).append(Claim(modality, site))

    @contextmanager
    def recording(self, *, graph: bool = False) -> Iterator[Recording]:
        """Record what every target answers inside the block; copies, safe from in-place edits.

        Args:
            graph: keep the copies in the graph of the pass.
        """
        calls: dict[Target, list[Recorded]] = {target: [] for target in self.claims}
        with ExitStack() as stack:
            for target, made in calls.items():
                stack.enter_context(recorded(target, made, graph=graph))
            yield Recording(calls, ambient_autocast())

    @contextmanager
    def answering(
        self, answer: Callable[[Target, int], Any], recording: Recording
    ) -> Iterator[None]:
        """Let every target answer `answer(target, call)` instead of running.

        Raises:
            AnatomyError: a target is called more or less often than it was recorded.
        """
        asked = dict.fromkeys(recording.calls, 0)

        def next_of(target: Target) -> Any:
            call = asked[target]
            asked[target] += 1
            if call >= len(recording.calls[target]):
                raise other_calls(target, asked[target], len(recording.calls[target]))
            return answer(target, call)

        with ExitStack() as stack:
            for target in asked:
                stack.enter_context(answered(target, partial(next_of, target)))
            stack.enter_context(recording.autocast())
            yield
        for target, calls in recording.calls.items():
            if asked[target] != len(calls):
                raise other_calls(target, asked[target], len(calls))


def check_recorded(recording: Recording, claims: Mapping[Target, list[Claim]]) -> None:
    """Complain about sites that gave no signal.

    Raises:
        AnatomyError: a site was not called, too rarely, or its output holds no floating tensor.
    """
    for target, calls in recording.calls.items():
        if not calls:
            raise AnatomyError(
                f"{target.path!r} was not called when the model ran. Name a module that forward "
                "calls (not a container such as ModuleList), or a method. If the model chooses by "
                "batch what it calls, as a mixture of experts does, name a module around the "
                f"choice, or {AT_INPUTS}."
            )
        for call in range(len(calls)):
            _check_one_owner(target, [c for c in claims[target] if c.covers(call)])
        for claim in claims[target]:
            mine = [made for call, made in enumerate(calls) if claim.covers(call)]
            if not mine:
                raise AnatomyError(
                    f"{claim.site.path!r}: {target.path!r} was called {len(calls)} time(s) only."
                )
            for made in mine:
                if not any(map(carries_signal, tensors(item_of(made.output, claim.site)))):
                    raise AnatomyError(
                        f"The output of {claim.site.path!r} holds no floating-point tensor "
                        f"(it is a {type(made.output).__name__}), so it cannot be replaced. Name "
                        "the module that gives the features."
                    )


def _check_one_owner(target: Target, claims: list[Claim]) -> None:
    items = [claim.site.item for claim in claims]
    if len(set(items)) < len(items) or (None in items and len(items) > 1):
        owners = " and ".join(repr(claim.modality) for claim in claims)
        raise AnatomyError(
            f"One call of {target.path!r} cannot stand for {owners} at once: leaving one out would "
            f"leave out both. Tell its calls apart with '{target.path}#0', '{target.path}#1', or "
            f"the parts of its output with '{target.path}[0]', '{target.path}[1]'."
        )


def item_of(output: Any, site: Site) -> Any:
    """Return the part of an output that a site names.

    Raises:
        AnatomyError: the output has no such part.
    """
    if site.item is None:
        return output
    try:
        if isinstance(output, Mapping):
            return output[site.item]
        if isinstance(output, tuple | list):
            return output[int(site.item)]
        return vars(output)[site.item]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise AnatomyError(
            f"{site.path!r}: the output is a {type(output).__name__} without a part {site.item!r}."
        ) from error


def with_item(output: Any, site: Site, value: Any) -> Any:
    """Return the output with the part that a site names exchanged."""
    if site.item is None:
        return value
    if isinstance(output, tuple):
        items = [value if i == int(site.item) else item for i, item in enumerate(output)]
        return type(output)(*items) if hasattr(output, "_fields") else tuple(items)
    changed = copy.copy(output)
    if isinstance(output, Mapping):
        put(changed, site.item, value, copied_from=output)
    elif isinstance(output, list):
        changed[int(site.item)] = value
    else:
        object.__setattr__(changed, site.item, value)
    return changed


def other_calls(target: Target, now: int, then: int) -> AnatomyError:
    """Word the complaint about a target that a replay calls more or less often."""
    return AnatomyError(
        f"{target.path!r} was called {now} time(s) in a replay and {then} time(s) in the full "
        "pass: the model's control flow depends on values. Name a module around the choice that "
        f"every pass calls, or a site before it, or {AT_INPUTS}."
    )


def _resolve(model: nn.Module, path: str) -> Target:
    modules = dict(model.named_modules(remove_duplicate=False))
    if path in modules:
        return Target(path, modules[path], "forward")
    parent, _, method = path.rpartition(".")
    owner = modules.get(parent)
    if owner is not None and callable(getattr(owner, method, None)):
        return Target(path, owner, method)
    close = difflib.get_close_matches(path, modules, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    top = ", ".join(name for name, _ in model.named_children())
    raise AnatomyError(
        f"{type(model).__name__} has no module or method {path!r}.{hint} Its parts: {top}."
    )
