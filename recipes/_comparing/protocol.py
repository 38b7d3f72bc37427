"""What a comparison depends on, as plain values: so that no two comparisons are mixed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import imbalance_lens
from imbalance_lens.batches import Split
from imbalance_lens.hooks.frozen import random_state_kept
from imbalance_lens.loaders import loader_kept, pairs
from imbalance_lens.trees import tensors

from .._values import DIGITS, digest


def versions() -> dict[str, str]:
    """Return the versions that numbers depend on."""
    return {
        "imbalance_lens": imbalance_lens.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }


def weights_hash(model: nn.Module) -> str:
    """Return what tells the weights of one model from those of another."""
    state = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    return digest(state.values(), ",".join(state))


def data_hashes(loaders: Mapping[str, Iterable[Any]], split: Split | None) -> dict[str, Any]:
    """Return what tells one split of the data from another.

    Held-out examples are read once, and are the same in whichever order they come. Examples to
    train on may be augmented and in random order, so of them it is told how many there are, and
    which of a larger set.
    """
    held_out = {
        name: _examples(loader, split, name) for name, loader in loaders.items() if name != "train"
    }
    return {"train": _training_set(loaders["train"]), **held_out}


def short_hash(text: str) -> str:
    """Return some digits that tell a text from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _training_set(loader: Iterable[Any]) -> dict[str, Any]:
    data = getattr(loader, "dataset", None)
    told: dict[str, Any] = {"batch_size": getattr(loader, "batch_size", None)}
    for name, counted in (("batches", loader), ("examples", data)):
        try:
            told[name] = len(counted)  # pyright: ignore[reportArgumentType]
        except (TypeError, NotImplementedError):  # it has no length: a generator, a stream
            told[name] = None
    indices = getattr(data, "indices", None)
    if indices is not None:
        told["indices"] = short_hash(str([int(index) for index in indices]))
    return told


def _examples(loader: Iterable[Any], split: Split | None, name: str) -> dict[str, Any]:
    total, count = 0, 0
    with random_state_kept(), loader_kept(loader):
        for inputs, labels in pairs(loader, split, name=f"The loader of {name!r} examples"):
            columns = [*tensors(inputs), labels]
            for place in range(len(labels)):
                own = [c[place] if c.ndim and len(c) == len(labels) else c for c in columns]
                total = (total + int(digest(own), 16)) % 16**DIGITS
            count += len(labels)
    return {"examples": count, "hash": f"{total:0{DIGITS}x}"}
