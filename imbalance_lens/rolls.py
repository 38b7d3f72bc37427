"""The answers of probes over the epochs of a training, and over its ranks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from . import schema
from .errors import NotApplicableError, NotAttachedError
from .probes._base import Probe
from .trees import map_tensors

if TYPE_CHECKING:
    import xarray as xr


class Roll:
    """Keeps what probes without steps and epochs of their own have answered, epoch by epoch."""

    def __init__(self) -> None:
        self._closed: dict[str, list[xr.Dataset]] = {}

    def close(self, probes: dict[str, Probe], epoch: int) -> None:
        """Keep the answers of an epoch, and put new probes in place of those that gave them."""
        for name, probe in probes.items():
            try:
                answer = over_ranks(probe).result()
            except (NotApplicableError, NotAttachedError):
                continue
            if not {"epoch", "step"} & set(answer.dims):
                self._closed.setdefault(name, []).append(_at(answer, epoch))
                probes[name] = dataclasses.replace(probe)  # pyright: ignore[reportArgumentType]

    def answer(self, name: str, probe: Probe, epoch: int) -> xr.Dataset:
        """Return what a probe has answered in closed epochs and answers now.

        Raises:
            NotAttachedError: it has seen nothing at all.
        """
        import xarray as xr

        closed = self._closed.get(name, [])
        try:
            now = over_ranks(probe).result()
        except NotAttachedError:
            if not closed:
                raise
            parts = closed
        else:
            if not closed:
                return now
            parts = [*closed, _at(now, epoch)]
        joined = xr.concat(parts, "epoch", join="outer", combine_attrs="override")
        schema.validate(joined)
        return joined


def over_ranks(probe: Probe) -> Probe:
    """Return what all ranks of a distributed training have seen; each has to call this."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return probe
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, map_tensors(torch.Tensor.cpu, probe))
    first, *others = everyone
    for other in others:
        first.merge(other)
    return first


def _at(answer: xr.Dataset, epoch: int) -> xr.Dataset:
    return answer.expand_dims(epoch=[epoch])
