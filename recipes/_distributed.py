"""What the ranks of a distributed training share; in a single process, nothing needs sharing."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed


@contextmanager
def started() -> Iterator[None]:
    """Start what torchrun has prepared, and end it afterwards; leave alone what runs already."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks < 2 or not distributed.is_available() or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        if local_rank() < torch.cuda.device_count():  # a training on the CPU may have more ranks
            torch.cuda.set_device(local_rank())
        distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        distributed.init_process_group("gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process among all."""
    return distributed.get_rank() if _many() else 0


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _many() else 1


def local_rank() -> int:
    """Return the number of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def is_main() -> bool:
    """Say whether this process is the one that writes files and progress."""
    return rank() == 0


def barrier() -> None:
    """Wait for all ranks."""
    if _many():
        distributed.barrier()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks, as a new tensor; each rank has to call this."""
    total = tensor.detach().clone()
    if _many():
        distributed.all_reduce(total)
    return total


def from_all_ranks(value: Any) -> list[Any]:
    """Return the value of each rank, in the order of the ranks; each has to call this.

    Args:
        value: made of what a checkpoint can hold.
    """
    if not _many():
        return [value]
    stored = io.BytesIO()
    torch.save(value, stored)  # a bare pickle cannot give back tensors of every dtype
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, stored.getvalue())
    return [torch.load(io.BytesIO(given), weights_only=True) for given in values]


def shared_seed(seed: int | None) -> int:
    """Return the same seed on all ranks; each has to call this.

    Args:
        seed: None draws one from the global random state, which moves on each rank, and in a
            single process, by the same.
    """
    if seed is None:
        seed = int(torch.randint(2**31, ()))  # NumPy takes no larger ones
    if not _many():
        return seed
    values = [seed]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def same_on_all_ranks_(tensors: Iterable[Tensor]) -> None:
    """Put the values of the first rank in place of all others'; each rank has to call this."""
    if _many():
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), src=0)


def average_gradients_(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Put the mean over all ranks in place of each gradient.

    A gradient that is None on some ranks counts as zero there; one that is None on all stays so.

    Args:
        parameters: the same on all ranks, in the same order; each rank has to call this.
    """
    if not _many():
        return
    own = list(parameters)
    # The CPU group, where there is one, agrees on this without waiting for the GPU.
    present = torch.tensor([p.grad is not None for p in own], dtype=torch.int32, device=_host())
    distributed.all_reduce(present, distributed.ReduceOp.MAX)
    groups: dict[tuple[torch.device, torch.dtype], list[torch.nn.Parameter]] = {}
    for parameter, somewhere in zip(own, present.tolist(), strict=True):
        if somewhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            groups.setdefault((parameter.grad.device, parameter.grad.dtype), []).append(parameter)
    for group in groups.values():
        gradients = [p.grad for p in group if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        parts = flat.div_(world_size()).split([gradient.numel() for gradient in gradients])
        shaped = [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, shaped)  # pyright: ignore[reportPrivateImportUsage]


def _many() -> bool:
    running = distributed.is_available() and distributed.is_initialized()
    return running and distributed.get_world_size() > 1


def _host() -> torch.device:
    backends = distributed.get_backend_config()  # such as "cpu:gloo,cuda:nccl"
    return torch.device("cpu" if "cpu:" in backends else "cuda")
