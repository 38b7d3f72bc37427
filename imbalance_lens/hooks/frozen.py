"""Running a model as an observer: nothing it holds is different afterwards."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..errors import AnatomyError


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Run the block in eval mode without gradients, and give back everything as it was.

    Given back, also after an error: every train/eval flag, every buffer (values and identity),
    every plain attribute of a module, and the random state of Python, numpy, the CPU and all CUDA
    devices in use. Compiled parts run eagerly inside, since hooks and patches added after
    compilation would be ignored.

    Raises:
        AnatomyError: the model has lazy layers that have not seen data.
    """
    _check_no_lazy_layer(model)
    flags = [(module, module.training) for module in model.modules()]
    attributes = [(module, _plain_attributes(module)) for module in model.modules()]
    buffers = Buffers(model)
    with ExitStack() as stack:
        stack.enter_context(random_state_kept())
        stack.enter_context(torch.no_grad())
        if "torch._dynamo" in sys.modules:  # not loaded: nothing was compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for module, _ in flags:
                module.training = False  # not eval(), which some layers use to merge their weights
            yield
        finally:
            for module, before in attributes:
                for name in _plain_attributes(module).keys() - before.keys():
                    del module.__dict__[name]
                module.__dict__.update(before)
            for module, training in flags:
                module.training = training
            buffers.restore()


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give back the random state of Python, numpy, the CPU and the CUDA devices in use."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class Buffers:
    """A copy of all buffers of a model, values and identity, to go back to."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (module, name, buffer, buffer.detach().clone(), _version(buffer))
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]

    def moved(self) -> bool:
        """Say whether any buffer is different by now."""
        return any(
            module._buffers[name] is not buffer or _changed(buffer, copy, version)
            for module, name, buffer, copy, version in self._kept
        )

    def restore(self) -> None:
        """Give every buffer back."""
        for module, name, buffer, copy, version in self._kept:
            module._buffers[name] = buffer
            if _changed(buffer, copy, version):
                buffer.copy_(copy)


_INTERNAL = frozenset(vars(nn.Module()))


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _INTERNAL}


def _check_no_lazy_layer(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise AnatomyError(
                f"{name!r} belongs to a lazy layer that has not seen data, so the model is not "
                "complete yet. Run it once on a batch first."
            )


def _version(buffer: Tensor) -> int:
    return -1 if buffer.is_inference() else buffer._version


def _changed(buffer: Tensor, copy: Tensor, version: int) -> bool:
    # Comparing values would wait for an accelerator; on the CPU it also sees writes to `.data`.
    moved = version < 0 or buffer._version != version
    return moved or (buffer.device.type == "cpu" and not torch.equal(buffer, copy))
