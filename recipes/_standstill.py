"""Parts of a model that are not trained for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from ._base import Run


class Standstill:
    """Holds parameters, and layers that keep statistics, until they are released."""

    def __init__(self) -> None:
        self._parameters: list[nn.Parameter] = []
        self._layers: list[nn.Module] = []

    def hold(self, parameters: Iterable[nn.Parameter], layers: Iterable[nn.Module] = ()) -> None:
        """Let parameters get no gradient, and layers stand as they do in evaluation.

        What the user has frozen is left alone, and stays so when the rest is released.
        """
        for parameter in parameters:
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                self._parameters.append(parameter)
        for layer in layers:
            if layer.training:
                layer.training = False  # not eval(), which some layers use to merge their weights
                self._layers.append(layer)

    def release(self) -> None:
        """Give everything back."""
        while self._parameters:
            self._parameters.pop().requires_grad_(True)
        while self._layers:
            self._layers.pop().training = True


def owned_by_none(run: Run) -> Iterator[nn.Parameter]:
    """Yield the trainable parameters that are no single modality's: fusion, head, shared parts."""
    owned = {
        parameter
        for modality in run.modalities
        for parameter in run.anatomy.parameters(run.model, modality)
    }
    for parameter in run.model.parameters():
        if parameter.requires_grad and parameter not in owned:
            yield parameter


def layers_of(run: Run, modality: str) -> Iterator[nn.Module]:
    """Yield the modules of a modality's own parts."""
    for path in run.anatomy.parts[modality]:
        yield from run.model.get_submodule(path).modules()
