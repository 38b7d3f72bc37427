"""The module tree of a model, with the calls that were seen of each module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .trace import Seen


class CalledTree:
    """Answers questions about modules by path; a module held under several goes by its first.

    Args:
        model: unwrapped.
        calls: in order, as `trace` gives them.
    """

    def __init__(self, model: nn.Module, calls: Sequence[Seen]) -> None:
        self.modules = dict(model.named_modules())
        self._sizes = {
            path: sum(parameter.numel() for parameter in module.parameters())
            for path, module in self.modules.items()
        }
        self.calls: dict[str, list[Seen]] = {}
        self._ended: dict[str, int] = {}
        for order, seen in enumerate(calls):
            self.calls.setdefault(seen.path, []).append(seen)
            self._ended.setdefault(seen.path, order)
        paths: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            paths.setdefault(module, []).append(path)
        self._paths = {known[0]: known for known in paths.values()}

    def size(self, path: str) -> int:
        """Return how many parameters a module holds."""
        return self._sizes[path]

    def order(self, path: str) -> int:
        """Return when a module, or the first one called inside of it, first ended a call."""
        ends = [end for called, end in self._ended.items() if _within(called, path)]
        return min(ends, default=len(self._ended))

    def children(self, path: str) -> list[str]:
        """Return the modules directly inside, without those that belong to another place first."""
        inside = (f"{path}.{name}".lstrip(".") for name, _ in self.modules[path].named_children())
        return [child for child in inside if child in self.modules]

    def inside(self, path: str) -> list[str]:
        """Return what was called inside of a module, has parameters, and is held there only.

        A module that another place holds too says nothing about this one: its calls may be from
        there.
        """
        return [
            called
            for called in self.calls
            if called != path
            and all(_within(known, path) for known in self._paths[called])
            and self.size(called)
        ]

    def layers(self, path: str) -> list[str]:
        """Return the innermost of the modules `inside`, in the order of their calls."""
        inside = self.inside(path)
        return [
            layer
            for layer in sorted(inside, key=self.order)
            if not any(other != layer and _within(other, layer) for other in inside)
        ]


def _within(path: str, container: str) -> bool:
    return not container or path == container or path.startswith(f"{container}.")
